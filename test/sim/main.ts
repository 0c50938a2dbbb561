import { availableParallelism } from "node:os";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { runInThreads, type Failure, type Totals } from "./threads.ts";
import { PLANTS } from "./plants.ts";
import { type Finding, record, recordedSeeds } from "./record.ts";

const HELP = `node .node/run.cjs test/sim/main.ts [options]
  --seeds N     schedules to run (1,000)
  --seconds T   begin no schedule after so long: as many as the machine takes
  --from S      first seed (1); without it the seeds that have failed before go first
  --plant NAME  run with one planted bug: it must be found
  --plants      run every planted bug until it is found, at most N seeds each
  --record      with --plants: search from the first seed on, and record what is found
  --trace       run one seed and print all that happens
  --hash        print a hash of what each seed has stored: to be compared before and after a change
  --jobs J      threads (one for each core)
`;
/** Lines of a failed schedule's end. */
const TRACE_LINES = 30;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    seconds: { type: "string" },
    from: { type: "string" },
    plant: { type: "string" },
    plants: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
    trace: { type: "boolean", default: false },
    hash: { type: "boolean", default: false },
    jobs: { type: "string", default: String(availableParallelism()) },
    help: { type: "boolean", default: false },
  },
});
const seeds = Number(values.seeds);
const from = Number(values.from ?? 1);
const jobs = Number(values.jobs);

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Seeds that have found a bug once. */
function knownSeeds(): readonly number[] {
  const text = readFileSync(new URL("seeds.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly seed: number }[]).map(({ seed }) => seed);
}

function describe({ seed, invariant, detail, trace }: Failure, plant: string | undefined): string {
  const lines = trace.slice(-TRACE_LINES).map((line) => `  ${line.slice(0, 240)}`);
  const planted = plant === undefined ? "" : ` --plant ${plant}`;
  return [
    `seed ${seed} violates: ${invariant}`,
    `  ${detail}`,
    "the end of it:",
    ...lines,
    `replay: npm run sim -- --trace --from ${seed}${planted}`,
  ].join("\n");
}

function summary({ schedules, elapsedMs, steps, virtualMs, commits, takeovers }: Totals): string {
  const perSecond = Math.round((schedules * 1_000) / elapsedMs);
  const mean = (sum: number) => Math.round(sum / schedules);
  return (
    `${schedules} schedules in ${(elapsedMs / 1_000).toFixed(1)} s, ${perSecond}/s; each: ${mean(steps)} steps, ` +
    `${mean(virtualMs)} ms of virtual time, ${mean(commits)} commits, ${mean(takeovers)} takeovers`
  );
}

async function runSeeds(plant: string | undefined): Promise<boolean> {
  const first = values.from === undefined ? knownSeeds() : [];
  const all = [...first, ...Array.from({ length: seeds }, (_, i) => from + i)];
  const { totals, failures, hashes } = await runInThreads({
    seeds: all,
    plant,
    jobs,
    isHashed: values.hash,
    failuresMax: plant === undefined ? 5 : 1,
    durationMsMax: Number(values.seconds ?? Infinity) * 1_000,
  });
  if (values.hash) for (const seed of all) say(`${seed} ${hashes.get(seed) ?? "not run"}`);
  for (const failure of failures) say(describe(failure, plant));
  say(summary(totals));
  return failures.length === 0;
}

/** Looks where the bug was found before, then from the first seed on. */
async function firstFailure(plant: string, list: readonly number[]): Promise<Failure | undefined> {
  const recorded = values.record ? undefined : recordedSeeds()[plant];
  for (const seeds of [recorded === undefined ? [] : [recorded], list]) {
    const { failures } = await runInThreads({ seeds, plant, jobs: 1, failuresMax: 1 });
    if (failures[0] !== undefined) return failures[0];
  }
  return undefined;
}

/** Each planted bug by itself, the threads side by side. */
async function runPlants(): Promise<boolean> {
  const waiting = [...PLANTS];
  const found = new Map<string, Finding>();
  let isComplete = true;
  const run = async () => {
    for (let plant = waiting.shift(); plant !== undefined; plant = waiting.shift()) {
      const { name, rule } = plant;
      const list = Array.from({ length: seeds }, (_, i) => from + i);
      try {
        const failure = await firstFailure(name, list);
        isComplete &&= failure !== undefined;
        if (failure !== undefined) found.set(name, failure);
        const what = failure && `seed ${failure.seed}: ${failure.invariant}`;
        say(`${rule.padEnd(4)} ${name.padEnd(44)} ${what ?? `NOT FOUND in ${seeds}`}`);
      } catch (error) {
        isComplete = false;
        say(`${rule.padEnd(4)} ${name.padEnd(44)} BROKEN: ${String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: jobs }, run));
  if (values.record) record(found);
  return isComplete;
}

async function trace(): Promise<boolean> {
  const { failures, trace: lines } = await runInThreads({
    seeds: [from],
    plant: values.plant,
    jobs: 1,
    failuresMax: 1,
    isTraced: true,
  });
  for (const line of lines) say(line);
  for (const failure of failures) say(describe({ ...failure, trace: [] }, values.plant));
  return failures.length === 0;
}

if (values.help) say(HELP);
else if (values.trace) process.exitCode = (await trace()) ? 0 : 1;
else if (values.plants) process.exitCode = (await runPlants()) ? 0 : 1;
else process.exitCode = (await runSeeds(values.plant)) ? 0 : 1;
