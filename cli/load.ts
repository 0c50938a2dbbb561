import { type Clock, systemClock } from "../platform/clock.ts";
import { type Random, seededRandom, systemRandom } from "../platform/random.ts";
import { createApiClient } from "./api-client.ts";
import { API, type WaitName } from "./api-paths.ts";
import { ensureStocked } from "./catalogue.ts";
import { ExitError } from "./exit-error.ts";
import { HttpPool } from "./http-pool.ts";
import { OPEN_IN_FLIGHT_MAX, runClosed, runOpen, type RunResult } from "./load-run.ts";
import { nextOrder, orderJson, type OrderMix } from "./order-mix.ts";
import { placer } from "./placer.ts";
import { cpuOfTrees, listenerOf } from "./process-cpu.ts";
import { cpuNumbers, failureLines, type LoadRow, loadTable, numbersOf } from "./report.ts";
import { grouped, type Terminal } from "./terminal.ts";

interface Range {
  readonly min: number;
  readonly max: number;
}

/** Flags of `tradewind load`. */
export interface LoadOptions {
  readonly url: string;
  /** Orders a second, in an open loop; 0: closed loops of `inFlight` each. */
  readonly rate: number;
  /** Of an open loop 10 s by default. */
  readonly durationMs: number | undefined;
  readonly inFlight: readonly number[];
  /** Orders of each closed loop, 2,000 by default unless there is a duration. */
  readonly orders: number | undefined;
  readonly wait: WaitName;
  /** One product for all orders. */
  readonly hot: boolean;
  readonly products: number;
  readonly lines: Range;
  readonly declined: number;
  /** Processes whose trees are measured; by default what listens on the URL's port, if that is on this machine. */
  readonly pids: readonly number[];
  readonly seed: number | undefined;
  readonly json: boolean;
}

const ORDERS_DEFAULT = 2_000;
const OPEN_DURATION_MS_DEFAULT = 10_000;
const TIMEOUT_MS = 30_000;
/** Sockets of an open loop; more orders than that wait for one, and that wait counts. */
const OPEN_CONNECTIONS_MAX = 1_024;
const UNITS_MIN = 100_000_000;

/** What a series of runs has shown. */
export interface LoadSeries {
  readonly rows: readonly LoadRow[];
  /** One line for each kind of failure. */
  readonly failures: readonly string[];
}

/** Puts load on a gateway and prints a table. @throws ExitError when an order failed, after the report */
export async function load(terminal: Terminal, options: LoadOptions, signal: AbortSignal): Promise<void> {
  const { rows, failures } = await runLoad(options, signal, (line) => terminal.status(line));
  terminal.status("");
  for (const line of failures) terminal.note(line);
  if (options.json) for (const row of rows) terminal.out(JSON.stringify({ command: "load", ...row }));
  else for (const line of [...loadTable(rows), ...cpuLines(rows)]) terminal.out(line);
  const failed = rows.reduce((sum, { numbers }) => sum + numbers.failed + numbers.dropped, 0);
  if (failed > 0) throw new ExitError(`${failed} orders failed`);
}

/** Makes the products and carries out the runs that the flags ask for, one after another. */
export async function runLoad(
  options: LoadOptions,
  signal: AbortSignal,
  tell: (line: string) => void,
): Promise<LoadSeries> {
  const { hot, products } = options;
  const names = Array.from({ length: hot ? 1 : products }, (_, at) => (hot ? "load-hot" : `load-${at + 1}`));
  await stock(options.url, names);
  const mix: OrderMix = {
    products: names,
    customerPrefix: "load-user-",
    customers: { min: 1, max: 1_000 },
    lines: options.lines,
    quantity: { min: 1, max: 3 },
    declinedShare: options.declined,
    wait: options.wait,
  };
  const random = options.seed === undefined ? systemRandom : seededRandom(options.seed);
  const rows: LoadRow[] = [];
  const failures: string[] = [];
  for (const step of stepsOf(options)) {
    if (signal.aborted) break;
    const { row, result } = await measure(options, step, mix, random, signal, tell);
    rows.push(row);
    failures.push(...failureLines(result.tally));
  }
  return { rows, failures };
}

async function stock(url: string, names: readonly string[]): Promise<void> {
  const api = createApiClient(url);
  try {
    const wanted = names.map((id) => ({
      id,
      name: `Load ${id}`,
      price: 1_000n,
      taxRateBp: 1_900,
      units: UNITS_MIN,
    }));
    await ensureStocked(api, systemClock, wanted, "load", systemRandom.id());
  } finally {
    api.close();
  }
}

type Step =
  | {
      readonly name: string;
      readonly inFlight: number;
      readonly orders?: number;
      readonly durationMs?: number;
    }
  | {
      readonly name: string;
      readonly ratePerSecond: number;
      readonly durationMs: number;
      readonly orders?: number;
    };

/** The runs that the flags ask for. */
export function stepsOf({ rate, durationMs, inFlight, orders, hot, wait }: LoadOptions): readonly Step[] {
  const suffix = `${hot ? ", one product" : ""}${wait === "settled" ? "" : `, ${wait}`}`;
  const limit = orders === undefined ? {} : { orders };
  if (rate > 0) {
    const name = `${grouped(rate)}/s${suffix}`;
    return [{ name, ratePerSecond: rate, durationMs: durationMs ?? OPEN_DURATION_MS_DEFAULT, ...limit }];
  }
  const bound = durationMs === undefined ? { orders: orders ?? ORDERS_DEFAULT } : { durationMs, ...limit };
  return inFlight.map((count) => ({ name: `${count} in flight${suffix}`, inFlight: count, ...bound }));
}

async function measure(
  options: LoadOptions,
  step: Step,
  mix: OrderMix,
  random: Random,
  signal: AbortSignal,
  tell: (line: string) => void,
): Promise<{ readonly row: LoadRow; readonly result: RunResult }> {
  const clock: Clock = systemClock;
  const isOpen = "ratePerSecond" in step;
  const connectionsMax = isOpen ? Math.min(OPEN_CONNECTIONS_MAX, OPEN_IN_FLIGHT_MAX) : step.inFlight;
  const pool = new HttpPool({ url: options.url, connectionsMax, timeoutMs: TIMEOUT_MS });
  const run = systemRandom.id();
  const place = placer({
    post: (body, key) => pool.post(API.placeOrder, body, key),
    order: () => orderJson(nextOrder(mix, random), mix.wait),
    key: (index) => `load-${run}-${index}`,
    clock,
  });
  const roots = rootsOf(options);
  const before = cpuOfTrees(roots);
  const ownBefore = process.cpuUsage();
  const progress = ({ done, failed, elapsedMs }: { done: number; failed: number; elapsedMs: number }) =>
    tell(`${step.name}: ${grouped(done)} orders, ${grouped((done * 1_000) / elapsedMs)}/s, ${failed} failed`);
  try {
    const shared = { clock, place, signal, progress };
    const result = isOpen ? await runOpen({ ...shared, ...step }) : await runClosed({ ...shared, ...step });
    const own = process.cpuUsage(ownBefore);
    const numbers = numbersOf(result);
    const cpu = cpuNumbers(before, cpuOfTrees(roots), numbers.success);
    const orders = Math.max(1, numbers.success);
    const generatorSecondsPer1000 = (own.user + own.system) / 1_000 / orders;
    return { row: { name: step.name, numbers, cpu, generatorSecondsPer1000 }, result };
  } finally {
    pool.close();
  }
}

/** Processes to measure: as given, else the one that listens here. Its tree holds the nats-server it started. */
function rootsOf({ pids, url }: LoadOptions): readonly number[] {
  if (pids.length > 0) return pids;
  const { hostname, port } = new URL(url);
  if (!/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)) return [];
  const pid = listenerOf(Number(port === "" ? 80 : port));
  return pid === undefined ? [] : [pid];
}

function cpuLines(rows: readonly LoadRow[]): string[] {
  return rows.flatMap(({ name, cpu }) =>
    cpu.length < 2
      ? []
      : [`  ${name}: ${cpu.map((part) => `${part.name} ${part.secondsPer1000.toFixed(3)}`).join(" · ")}`],
  );
}
