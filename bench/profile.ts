/**
 * `npm run profile`: where the CPU goes for one order. Runs closed loops on one system, profiles worker, projection and
 * gateway with V8's profiler and nats-server with Go's, and leaves in bench/out/profile: a flame graph for each process
 * and load (HTML, needs nothing else), the raw profiles, and the table that it prints.
 *
 *     npm run profile                        64 and 256 in flight
 *     npm run profile -- --in-flight 16 --seconds 10 --setup r1-default
 */
import { execFile } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { setTimeout } from "node:timers/promises";
import { parseArgs, promisify } from "node:util";
import { grouped, processTerminal, table } from "../cli/terminal.ts";
import { freePorts } from "../platform/nats-server/ports.ts";
import { type Profile, readProfile } from "./cpu-profile.ts";
import { flameGraph } from "./flame-graph.ts";
import type { Generator } from "./generator.ts";
import { keep } from "./history.ts";
import { loadAverage, thisMachine } from "./machine.ts";
import { rounded, using } from "./measure.ts";
import { type RowContext, unclean, USUAL_ORDERS, warmGenerator } from "./row.ts";
import { HEADLINE, SETUPS } from "./rows.ts";
import { type BenchSystem, type Role, startSystem } from "./system.ts";
import { listen } from "./traffic.ts";

const { values: flags } = parseArgs({
  options: {
    "in-flight": { type: "string", default: "64,256" },
    seconds: { type: "string", default: "8" },
    setup: { type: "string", default: HEADLINE },
    hot: { type: "boolean", default: false },
    /** Keeps the result out of bench/history. */
    "no-history": { type: "boolean", default: false },
  },
});

const PROFILED: readonly Role[] = ["worker", "projection", "gateway"];
const TOP_FUNCTIONS = 12;
const TOP_NATS_LINES = 25;
const TRAFFIC_MS_MAX = 3_000;
const TRAFFIC_MIN = 0.005;
const REST_MS = 500;
const root = join(import.meta.dirname, "..");
const folder = join(import.meta.dirname, "out/profile");
const terminal = processTerminal();
const abort = new AbortController();
process.once("SIGINT", () => abort.abort()).once("SIGTERM", () => abort.abort());

/** Microseconds of one order: by process, then by part. */
type Costs = Map<string, ReadonlyMap<string, number>>;

interface Measured {
  readonly inFlight: number;
  readonly ordersPerSecond: number;
  readonly costs: Costs;
  /** Of the whole process from /proc: its other threads are in it too. */
  readonly processUs: ReadonlyMap<Role, number>;
  readonly lines: readonly string[];
}

async function measure(context: RowContext, inFlight: number, profPort: number): Promise<Measured> {
  const { system, seconds, tell } = context;
  const generator = await warmGenerator(context, { ...USUAL_ORDERS, isHot: flags.hot });
  tell(`${inFlight} in flight, profiled`);
  const name = (role: Role) => `${role}-${inFlight}`;
  const profiles = PROFILED.map((role) => ({ role, profile: system.profile(role, folder, name(role)) }));
  const nats = natsProfile(profPort, join(folder, `nats-${inFlight}.pb.gz`), seconds);
  const load = { inFlight, connectionsMax: inFlight, durationMs: seconds * 1_000, wait: "settled" as const };
  const [{ tally, elapsedMs }, used] = await using(system, () => generator.closed(load));
  const orders = Math.max(1, tally.done);
  const processUs = new Map([...used.byRole].map(([role, cpu]) => [role, (cpu * 1e6) / orders] as const));
  const costs: Costs = new Map();
  const lines: string[] = [];
  for (const { role, profile } of profiles) {
    for (const file of await profile.stop()) {
      const read = readProfile(file, root);
      writeFileSync(
        file.replace(/\.cpuprofile$/, ".html"),
        flameGraph(titleOf(role, inFlight, read, orders), read.root),
      );
      // The profiler counts time, and on a busy machine a part of it is spent without a core.
      const scale = Math.min(1, ((processUs.get(role) ?? 0) * orders) / read.busyUs);
      costs.set(role, new Map([...read.partsUs].map(([part, us]) => [part, (us * scale) / orders] as const)));
      lines.push(
        "",
        `${role}, ${inFlight} in flight: functions by their own time`,
        ...topFunctions(read, orders, scale),
      );
    }
  }
  lines.push("", ...(await nats), "", ...(await trafficLines(context, generator, load)));
  return { inFlight, ordersPerSecond: (tally.done * 1_000) / elapsedMs, costs, processUs, lines };
}

function titleOf(role: Role, inFlight: number, { busyUs }: Profile, orders: number): string {
  return `${role}, ${inFlight} in flight: ${Math.round(busyUs / orders)} µs per order, ${grouped(orders)} orders`;
}

function topFunctions({ selfUs, busyUs }: Profile, orders: number, scale: number): string[] {
  const rows = [...selfUs].toSorted(([, a], [, b]) => b - a).slice(0, TOP_FUNCTIONS);
  return table(
    rows.map(([name, us]) => [
      name,
      `${((us * scale) / orders).toFixed(1)} µs`,
      `${((us / busyUs) * 100).toFixed(1)} %`,
    ]),
  );
}

/** What is published for one order, by sort, in a run of its own. */
async function trafficLines(
  { system, tell }: RowContext,
  generator: Generator,
  load: Parameters<Generator["closed"]>[0],
): Promise<string[]> {
  tell("traffic");
  const listener = await listen(system.servers.url);
  const durationMs = Math.min(TRAFFIC_MS_MAX, load.durationMs);
  const { tally } = await generator.closed({ ...load, durationMs });
  await setTimeout(REST_MS);
  const found = await listener.stop();
  const orders = Math.max(1, tally.done);
  return [
    `${load.inFlight} in flight: messages published per order, and their mean size`,
    ...table(
      found
        .filter(({ count }) => count / orders >= TRAFFIC_MIN)
        .map(({ sort, count, bytes }) => [sort, (count / orders).toFixed(2), `${grouped(bytes / count)} B`]),
    ),
  ];
}

/** Lines of `go tool pprof -top`, where Go is installed; the raw profile stays in any case. */
async function natsProfile(port: number, file: string, seconds: number): Promise<readonly string[]> {
  const url = `http://127.0.0.1:${port}/debug/pprof/profile?seconds=${Math.max(1, Math.floor(seconds))}`;
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout((seconds + 10) * 1_000) });
    writeFileSync(file, Buffer.from(await answer.arrayBuffer()));
  } catch (error) {
    return [`no profile of nats-server: ${String(error)}`];
  }
  try {
    const args = ["tool", "pprof", "-top", `-nodecount=${TOP_NATS_LINES}`, file];
    const { stdout } = await promisify(execFile)("go", args, { timeout: 60_000 });
    return ["nats-server: functions by their own time", ...stdout.trim().split("\n")];
  } catch {
    return [`nats-server: open ${relative(root, file)} with go tool pprof`];
  }
}

/** Microseconds per order, by part and process. */
function costTable({ inFlight, ordersPerSecond, costs, processUs }: Measured): string[] {
  const parts = new Map<string, number>();
  for (const byPart of costs.values())
    for (const [part, us] of byPart) parts.set(part, (parts.get(part) ?? 0) + us);
  const all = [...parts.values()].reduce((sum, us) => sum + us, 0);
  const cell = (us: number | undefined) => (us === undefined || us < 0.05 ? "–" : us.toFixed(1));
  const processes = [...costs.keys()];
  const sums = (of: (process: string) => number | undefined) => processes.map((name) => cell(of(name)));
  const sumOf = (process: string) =>
    [...(costs.get(process)?.values() ?? [])].reduce((sum, us) => sum + us, 0);
  const system = [...processUs.values()].reduce((sum, us) => sum + us, 0);
  return [
    `${inFlight} in flight, ${grouped(ordersPerSecond)} orders/s under the profiler, µs of CPU per order`,
    ...table([
      ["part", ...processes, "all", "share"],
      ...[...parts]
        .toSorted(([, a], [, b]) => b - a)
        .map(([part, us]) => [
          part,
          ...sums((process) => costs.get(process)?.get(part)),
          cell(us),
          `${((us / all) * 100).toFixed(1)} %`,
        ]),
      ["main thread", ...sums(sumOf), cell(all), ""],
      ["whole process", ...sums((process) => processUs.get(process as Role)), "", ""],
      ["nats-server", ...processes.map(() => ""), cell(processUs.get("nats")), ""],
      ["whole system", ...processes.map(() => ""), cell(system), ""],
    ]),
  ];
}

async function profileAll(system: BenchSystem, profPort: number): Promise<readonly Measured[]> {
  const tell = (line: string) => (terminal.isTty ? terminal.status(line) : terminal.note(line));
  const context: RowContext = { system, seconds: Number(flags.seconds), signal: abort.signal, tell };
  const found: Measured[] = [];
  for (const inFlight of flags["in-flight"].split(",").map(Number)) {
    if (!abort.signal.aborted) found.push(await measure(context, inFlight, profPort));
  }
  const problem = await unclean(system.url);
  if (problem !== "") throw new Error(`the profile does not count, the books differ: ${problem}`);
  return found;
}

const setup = SETUPS[flags.setup];
if (setup === undefined)
  throw new Error(`there is no setup ${flags.setup}: choose of ${Object.keys(SETUPS).join(", ")}`);
// A profile counts as written as soon as its file is there, so those of the run before must not be.
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const loadBefore = loadAverage();
const [profPort = 0] = await freePorts(1, Math.random);
const system = await startSystem({ ...setup, ...(setup.replicas === 1 && { profPort }) });
try {
  const found = await profileAll(system, profPort);
  const text = found.flatMap((each) => ["", ...costTable(each), ...each.lines]).join("\n");
  terminal.status("");
  terminal.out(text);
  writeFileSync(join(folder, "table.txt"), `${text}\n`);
  terminal.out(`\nflame graphs: ${relative(process.cwd(), folder)}/*.html`);
  const circumstances = {
    machine: thisMachine(),
    loadBefore,
    loadAfter: loadAverage(),
    versions: { [system.servers.name]: system.servers.version },
    seconds: Number(flags.seconds),
  };
  if (!flags["no-history"])
    keep("profile", circumstances, { setup: flags.setup, isHot: flags.hot, runs: found.map(historyOf) });
} finally {
  await system.stop();
}
process.exitCode = 0;

function historyOf({ inFlight, ordersPerSecond, costs, processUs }: Measured) {
  const plain = (map: ReadonlyMap<string, number>) =>
    Object.fromEntries([...map].map(([name, us]) => [name, rounded(us)] as const));
  return {
    inFlight,
    ordersPerSecond: rounded(ordersPerSecond),
    partsUs: Object.fromEntries([...costs].map(([process, parts]) => [process, plain(parts)] as const)),
    processUs: plain(processUs),
  };
}
