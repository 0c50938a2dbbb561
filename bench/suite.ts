import type { Circumstances, Entry } from "./history.ts";
import { loadAverage, thisMachine } from "./machine.ts";
import { type Figures, medianFigures } from "./measure.ts";
import { type RowContext, unclean } from "./row.ts";
import { type Planned, SETUPS } from "./rows.ts";
import type { Servers } from "./servers.ts";
import { startSystem } from "./system.ts";
import { more } from "./table.ts";

/** How the rows are measured. */
export interface SuiteOptions {
  readonly planned: readonly Planned[];
  readonly repeat: number;
  /** Length of the measured part of a row. */
  readonly seconds: number;
  /** The first ends the row under way and keeps what there is. */
  readonly signal: AbortSignal;
  /** Replaces the line that stands there, for who waits. */
  readonly status: (line: string) => void;
  /** A line that stays. */
  readonly note: (line: string) => void;
}

/** What a series of rows has shown. */
export interface SuiteResult {
  readonly entries: readonly Entry[];
  readonly circumstances: Circumstances;
}

/** A row that takes longer hangs: its system is stopped and the next row is measured. */
const ROW_MS_MAX = 150_000;

/** Measures all rows once, then all of them again, so that a machine that drifts hurts them alike. */
export async function runSuite(options: SuiteOptions): Promise<SuiteResult> {
  const { planned, repeat, seconds, signal, note } = options;
  const loadBefore = loadAverage();
  const machine = thisMachine();
  const runs = new Map<Planned, Figures[]>(planned.map((each) => [each, []]));
  const dropped = new Map<Planned, string[]>(planned.map((each) => [each, []]));
  const versions: Record<string, string> = {};
  const total = planned.length * repeat;
  for (let at = 0; at < total && !signal.aborted; at++) {
    const each = planned[at % planned.length];
    if (each === undefined) break;
    const name = `[${at + 1}/${total}] ${each.setup} ${each.row.name}`;
    try {
      const { figures, servers } = await runRow(each, options, (line) => options.status(`${name}: ${line}`));
      versions[servers.name] = servers.version;
      runs.get(each)?.push(figures);
      note(`${name}: ${summary(figures)}`);
    } catch (error) {
      if (signal.aborted) break;
      dropped.get(each)?.push(String(error));
      note(`${name} does not count: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const entries = planned.flatMap((each): Entry[] => {
    const counted = runs.get(each) ?? [];
    const bad = dropped.get(each) ?? [];
    if (counted.length + bad.length === 0) return [];
    const { setup, row } = each;
    return [
      { setup, row: row.name, about: row.about, median: medianFigures(counted), runs: counted, dropped: bad },
    ];
  });
  return { entries, circumstances: { machine, loadBefore, loadAfter: loadAverage(), versions, seconds } };
}

function summary(figures: Figures): string {
  const { ordersPerSecond, p50Ms, p99Ms, cpu } = figures;
  const parts = [
    ...(ordersPerSecond === undefined ? [] : [`${Math.round(ordersPerSecond)}/s`]),
    ...(p50Ms === undefined ? [] : [`p50 ${p50Ms.toFixed(1)} ms`]),
    ...(p99Ms === undefined ? [] : [`p99 ${p99Ms.toFixed(1)} ms`]),
    ...(cpu === undefined ? [] : [`${cpu.toFixed(3)} CPU-s/1,000`]),
  ];
  return `${parts.join(", ")}${more(figures)}`.trim();
}

/** One row on a system of its own. @throws Error if the books are not clean after it, or it hangs */
async function runRow(
  { setup, row }: Planned,
  { seconds, signal }: SuiteOptions,
  tell: (line: string) => void,
): Promise<{ readonly figures: Figures; readonly servers: Servers }> {
  const usual = SETUPS[setup];
  if (usual === undefined) throw new Error(`there is no setup ${setup}`);
  const options = { ...usual, ...row.needs };
  tell("start");
  const system = await (row.start ?? startSystem)(options);
  const hang = AbortSignal.timeout(ROW_MS_MAX);
  const context: RowContext = { system, seconds, signal: AbortSignal.any([signal, hang]), tell };
  try {
    const figures = await Promise.race([row.run(context), system.failure, aborted(context.signal)]);
    signal.throwIfAborted();
    if (system.url !== "") {
      tell("reconcile");
      const problem = await unclean(system.url);
      if (problem !== "") throw new Error(`the books differ: ${problem}`);
    }
    return { figures, servers: system.servers };
  } finally {
    tell("stop");
    await system.stop();
  }
}

/** Fails a little after the signal, so that what ends by itself may do so. */
async function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  const fail = () =>
    setTimeout(() => reject(new Error(`it was ended: ${String(signal.reason)}`)), 5_000).unref();
  if (signal.aborted) fail();
  else signal.addEventListener("abort", fail, { once: true });
  return promise;
}
