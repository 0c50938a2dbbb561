import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import type { ScheduleResult } from "./schedule.ts";

/** A schedule that broke an invariant. */
export interface Failure {
  readonly seed: number;
  readonly invariant: string;
  readonly detail: string;
  readonly trace: readonly string[];
}

/** Sums over schedules. */
export interface Totals {
  schedules: number;
  elapsedMs: number;
  steps: number;
  virtualMs: number;
  commits: number;
  takeovers: number;
}

/** What a thread is given when it starts. */
export interface ThreadData {
  readonly plant: string | undefined;
  readonly isTraced: boolean;
  readonly isHashed: boolean;
}

/** What to run. */
export interface RunOptions {
  readonly seeds: readonly number[];
  readonly plant: string | undefined;
  readonly jobs: number;
  /** Stops after so many failures. */
  readonly failuresMax: number;
  /** Begins nothing more after so long; what has begun is finished. */
  readonly durationMsMax?: number;
  readonly isTraced?: boolean;
  readonly isHashed?: boolean;
}

/** What came of it. */
export interface RunResult {
  readonly totals: Totals;
  /** By seed. */
  readonly failures: readonly Failure[];
  /** Of the last schedule, if it was asked for. */
  readonly trace: readonly string[];
  /** Of the history of each schedule, by seed, if they were asked for. */
  readonly hashes: ReadonlyMap<number, string>;
}

/** Seeds that a thread gets at once: few enough to stop soon. */
const BLOCK_SEEDS = 20;
/**
 * All that a schedule makes is garbage at its end: a large nursery is collected seldom and cheaply. It must not start
 * small, nor may the collector learn from what lives when a schedule is cut in two: what it then allocates among the
 * old keeps whole schedules from being collected.
 */
const NURSERY_MB = 64;
const THREAD_FLAGS = [`--min-semi-space-size=${NURSERY_MB}`, "--no-allocation-site-pretenuring"];

/** Without a word for so long a thread is looked at: a schedule takes some milliseconds, with a trace some more. */
const SILENT_MS_MAX = 5_000;
/** Processor time of a silent thread: on a busy machine it may only wait for its turn. */
const SPIN_CPU_MS_MAX = 5_000;

/** Runs schedules on all cores: each is one synchronous program, so threads need not know of each other. */
export async function runInThreads(options: RunOptions): Promise<RunResult> {
  const { seeds, plant, jobs, failuresMax, durationMsMax = Infinity } = options;
  const { isTraced = false, isHashed = false } = options;
  for (const flag of THREAD_FLAGS) setFlagsFromString(flag);
  const startedMs = performance.now();
  const totals: Totals = { schedules: 0, elapsedMs: 0, steps: 0, virtualMs: 0, commits: 0, takeovers: 0 };
  const failures: Failure[] = [];
  const hashes = new Map<number, string>();
  let trace: readonly string[] = [];
  let next = 0;
  const runThread = () =>
    new Promise<void>((resolve, reject) => {
      const workerData: ThreadData = { plant, isTraced, isHashed };
      const resourceLimits = { maxYoungGenerationSizeMb: 3 * NURSERY_MB };
      const thread = new Worker(new URL("thread.ts", import.meta.url), { workerData, resourceLimits });
      let seed = 0;
      let silentSinceCpuMs: number | undefined;
      const look = async () => {
        const { user } = await thread.cpuUsage();
        const cpuMs = user / 1_000;
        silentSinceCpuMs ??= cpuMs;
        if (cpuMs - silentSinceCpuMs < SPIN_CPU_MS_MAX)
          return void (watchdog = setTimeout(onSilence, SILENT_MS_MAX));
        const detail = `nothing came of the schedule for ${SPIN_CPU_MS_MAX} ms: it spins without letting time pass`;
        failures.push({ seed, invariant: "time passes", detail, trace: [] });
        await thread.terminate();
      };
      const onSilence = () => void look().catch(() => undefined); // it has ended meanwhile
      let watchdog = setTimeout(onSilence, SILENT_MS_MAX);
      const feed = () => {
        const isOver = failures.length >= failuresMax || performance.now() - startedMs >= durationMsMax;
        const block = isOver ? [] : seeds.slice(next, next + BLOCK_SEEDS);
        next += block.length;
        thread.postMessage(block); // an empty one ends the thread
      };
      thread.on("error", reject);
      thread.on("exit", () => {
        clearTimeout(watchdog);
        resolve();
      });
      thread.on("message", (results: readonly ScheduleResult[] | number) => {
        clearTimeout(watchdog);
        silentSinceCpuMs = undefined;
        watchdog = setTimeout(onSilence, SILENT_MS_MAX);
        if (typeof results === "number") return void (seed = results);
        for (const result of results) {
          add(totals, result);
          hashes.set(result.seed, result.hash);
          trace = result.trace;
          const { violation } = result;
          if (violation !== undefined)
            failures.push({ seed: result.seed, ...violation, trace: result.trace });
        }
        feed();
      });
      feed();
    });
  const threads = Math.max(1, Math.min(jobs, Math.ceil(seeds.length / BLOCK_SEEDS)));
  await Promise.all(Array.from({ length: threads }, runThread));
  totals.elapsedMs = performance.now() - startedMs;
  failures.sort((a, b) => a.seed - b.seed);
  return { totals, failures: failures.slice(0, failuresMax), trace, hashes };
}

function add(totals: Totals, { steps, virtualMs, commits, takeovers }: ScheduleResult): void {
  totals.schedules++;
  totals.steps += steps;
  totals.virtualMs += virtualMs;
  totals.commits += commits;
  totals.takeovers += takeovers;
}
