/**
 * `npm run bench`: settled orders a second and what they cost, on a system of its own. Prints one table and
 * appends it to
 * bench/history. A run after which the books are not clean does not count.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createApiClient } from "../cli/api-client.ts";
import { type LoadOptions, runLoad } from "../cli/load.ts";
import { type LoadRow, loadTable } from "../cli/report.ts";
import { type BenchSystem, startBenchSystem } from "./system.ts";

const RUNS = [
  { inFlight: 1, orders: 500, hot: false },
  { inFlight: 64, orders: 5_000, hot: false },
  { inFlight: 256, orders: 10_000, hot: false },
  { inFlight: 64, orders: 5_000, hot: true },
] as const;
const WARM_UP_ORDERS = 1_000;
const DECLINED_SHARE = 0.05;
const RECONCILE_SECONDS = 20;
const QUICK_DIVISOR = 10;

const { values: flags } = parseArgs({
  options: {
    /** A tenth of the orders: to see that it works. */
    quick: { type: "boolean", default: false },
    sync: { type: "string", default: "always" },
    provider: { type: "string", default: "memory" },
    lines: { type: "string", default: "1..3" },
    /** Keeps the result out of bench/history. */
    "no-history": { type: "boolean", default: false },
  },
});

const provider = flags.provider === "http" ? "http" : "memory";
const [linesMin = 1, linesMax = linesMin] = flags.lines.split("..").map(Number);
const abort = new AbortController();
process.once("SIGINT", () => abort.abort()).once("SIGTERM", () => abort.abort());

function optionsOf(system: BenchSystem, inFlight: number, orders: number, hot: boolean): LoadOptions {
  return {
    url: system.url,
    rate: 0,
    durationMs: undefined,
    inFlight: [inFlight],
    orders: flags.quick ? Math.ceil(orders / QUICK_DIVISOR) : orders,
    wait: "settled",
    hot,
    products: 100,
    lines: { min: linesMin, max: linesMax },
    declined: DECLINED_SHARE,
    pids: system.pids,
    seed: 1,
    json: false,
  };
}

/** What is wrong with the books; empty if nothing is. */
async function unclean(url: string): Promise<string> {
  const api = createApiClient(url, (RECONCILE_SECONDS + 10) * 1_000);
  try {
    const path = "/tradewind.ops.v1.OpsService/Reconcile";
    const found = await api.call<{
      verdict: string;
      checks: { name: string; verdict: string; text: string }[];
    }>(path, {
      timeout: `${RECONCILE_SECONDS}s`,
    });
    if (found.verdict === "RECONCILE_VERDICT_CLEAN") return "";
    return found.checks
      .filter(({ verdict }) => verdict !== "RECONCILE_VERDICT_CLEAN")
      .map(({ name, verdict }) => `${name} ${verdict}`)
      .join(", ");
  } finally {
    api.close();
  }
}

function commitName(): string {
  try {
    const git = (...args: string[]) => execFileSync("git", args, { encoding: "utf8" }).trim();
    const isDirty = git("status", "--porcelain", "--untracked-files=no") !== "";
    return `${git("rev-parse", "--short", "HEAD")}${isDirty ? "+changes" : ""}`;
  } catch {
    return "unknown";
  }
}

function keep(system: BenchSystem, rows: readonly LoadRow[], memoryBytes: number): void {
  const [cpu] = cpus();
  const entry = {
    time: new Date().toISOString(),
    commit: commitName(),
    machine: {
      cpu: cpu?.model ?? "unknown",
      cores: cpus().length,
      memoryBytes: totalmem(),
      platform: process.platform,
    },
    versions: { node: process.versions.node, natsServer: system.natsVersion },
    setup: {
      sync: flags.sync,
      replicas: 1,
      provider,
      lines: flags.lines,
      declinedShare: DECLINED_SHARE,
      quick: flags.quick,
    },
    memoryBytes,
    rows,
  };
  const folder = join(import.meta.dirname, "history");
  mkdirSync(folder, { recursive: true });
  appendFileSync(join(folder, "orders.jsonl"), `${JSON.stringify(entry)}\n`);
}

const system = await startBenchSystem({ syncInterval: flags.sync, provider });
const rows: LoadRow[] = [];
try {
  await runLoad(optionsOf(system, 64, WARM_UP_ORDERS, false), abort.signal, () => undefined);
  for (const { inFlight, orders, hot } of RUNS) {
    if (abort.signal.aborted) break;
    const series = await runLoad(optionsOf(system, inFlight, orders, hot), abort.signal, () => undefined);
    for (const line of series.failures) console.log(line);
    const problem = await unclean(system.url);
    if (problem === "") rows.push(...series.rows);
    else console.log(`the run with ${inFlight} in flight does not count, the books differ: ${problem}`);
    process.exitCode ??= problem === "" && series.failures.length === 0 ? undefined : 1;
    console.log(
      series.rows.map(({ name, numbers }) => `${name}: ${Math.round(numbers.ordersPerSecond)}/s`).join("\n"),
    );
  }
  const memoryBytes = system.memoryBytes();
  console.log(
    `\nsync ${flags.sync}, one server, provider ${provider}, lines ${flags.lines}, 5 % declined, ` +
      `${cpus().length} cores, memory of all processes ${Math.round(memoryBytes / 2 ** 20)} MiB`,
  );
  for (const line of loadTable(rows)) console.log(line);
  for (const { name, cpu } of rows)
    console.log(
      `  ${name}: ${cpu.map((part) => `${part.name} ${part.secondsPer1000.toFixed(3)}`).join(" · ")}`,
    );
  if (!flags["no-history"] && !abort.signal.aborted) keep(system, rows, memoryBytes);
} finally {
  await system.stop();
}
