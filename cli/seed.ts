import { createHash } from "node:crypto";
import { type Clock, systemClock } from "../platform/clock.ts";
import { seededRandom, systemRandom } from "../platform/random.ts";
import { createApiClient } from "./api-client.ts";
import { API, type WaitName } from "./api-paths.ts";
import { ensureStocked, type WantedProduct } from "./catalogue.ts";
import { DEMO_CATALOGUE_KEY } from "./demo-catalogue.ts";
import { ExitError } from "./exit-error.ts";
import { HttpPool } from "./http-pool.ts";
import { runClosed, runOpen, type RunResult } from "./load-run.ts";
import { nextOrder, orderJson, type PlannedOrder } from "./order-mix.ts";
import { failureLines, type Numbers, numbersOf, seedLines } from "./report.ts";
import { placer } from "./placer.ts";
import { PRESETS, type PresetName } from "./presets.ts";
import { grouped, progressLine, type Terminal } from "./terminal.ts";

/** Flags of `tradewind seed`. */
export interface SeedOptions {
  readonly count: number;
  readonly url: string;
  readonly minUser: number;
  readonly maxUser: number;
  readonly minProduct: number;
  readonly maxProduct: number;
  readonly minQuantity: number;
  readonly maxQuantity: number;
  readonly verbose: boolean;
  /** Orders a second, evenly; 0 as fast as answers come. */
  readonly rate: number;
  readonly concurrency: number;
  /** Undefined: another one each time. */
  readonly seed: number | undefined;
  readonly preset: PresetName | undefined;
  readonly declined: number;
  readonly wait: WaitName;
  readonly json: boolean;
}

interface Plan {
  readonly products: readonly WantedProduct[];
  readonly orders: readonly PlannedOrder[];
  /** Idempotency keys are this and the number of the order: the same plan is carried out once. */
  readonly key: string;
}

const TIMEOUT_MS = 30_000;
const PLAIN_PROGRESS_MS = 2_000;
/** An order is repeated under its key while a part of the system is starting again. */
const ATTEMPTS_MAX = 10;

/** Orders that would be placed; the same random seed and flags give the same ones. @throws ExitError */
export function planOf(options: SeedOptions, seed: number): Plan {
  const { preset, minUser, maxUser, minProduct, maxProduct, minQuantity, maxQuantity, count, declined } =
    options;
  if (preset !== undefined) return { ...PRESETS[preset], key: `preset-${preset}` };
  checkRange("user", minUser, maxUser);
  checkRange("product", minProduct, maxProduct);
  checkRange("quantity", minQuantity, maxQuantity);
  const random = seededRandom(seed);
  const numbers = Array.from({ length: maxProduct - minProduct + 1 }, (_, at) => minProduct + at);
  const mix = {
    products: numbers.map((number) => `prod-${number}`),
    customerPrefix: "user-",
    customers: { min: minUser, max: maxUser },
    lines: { min: 1, max: 1 },
    quantity: { min: minQuantity, max: maxQuantity },
    declinedShare: declined,
    wait: options.wait,
  };
  const orders = Array.from({ length: count }, () => nextOrder(mix, random));
  const flags = [minUser, maxUser, minProduct, maxProduct, minQuantity, maxQuantity, declined];
  const hash = createHash("sha256").update(flags.join(" ")).digest("hex").slice(0, 8);
  return { orders, products: stockFor(orders), key: `seed-${seed}-${hash}` };
}

function checkRange(name: string, min: number, max: number): void {
  if (min > max) throw new ExitError(`--min-${name} ${min} is above --max-${name} ${max}`, 64);
}

/** Every product that is ordered, with as many units as are ordered. */
function stockFor(orders: readonly PlannedOrder[]): Plan["products"] {
  const units = new Map<string, number>();
  for (const { lines } of orders)
    for (const { productId, quantity } of lines) units.set(productId, (units.get(productId) ?? 0) + quantity);
  return [...units].map(([id, ordered]) => {
    const number = Number(id.slice("prod-".length));
    const price = BigInt(100 + ((number * 7_919) % 9_900));
    return { id, name: `Product ${number}`, price, taxRateBp: 1_900, units: ordered };
  });
}

/**
 * Places orders and reports. Failed orders are counted apart and never as throughput.
 * @throws ExitError when an order failed, after the report
 */
export async function seed(terminal: Terminal, options: SeedOptions, signal: AbortSignal): Promise<void> {
  const seedNumber = options.seed ?? Math.floor(systemRandom.float() * 2 ** 31);
  const plan = planOf(options, seedNumber);
  const clock = systemClock;
  await prepare(terminal, options, plan, clock);
  const pool = new HttpPool({ url: options.url, connectionsMax: options.concurrency, timeoutMs: TIMEOUT_MS });
  try {
    const result = await run(terminal, options, plan, pool, clock, signal);
    const numbers = numbersOf(result);
    if (options.json) terminal.out(JSON.stringify({ command: "seed", seed: seedNumber, ...numbers }));
    else for (const line of seedLines(numbers)) terminal.out(line);
    finish(terminal, result, numbers);
  } finally {
    pool.close();
  }
}

async function prepare(
  terminal: Terminal,
  { url, preset }: SeedOptions,
  plan: Plan,
  clock: Clock,
): Promise<void> {
  const api = createApiClient(url);
  try {
    terminal.note(`${grouped(plan.products.length)} products and their stock at ${url} …`);
    const keyPrefix = preset === "demo" ? DEMO_CATALOGUE_KEY : "seed";
    await ensureStocked(api, clock, plan.products, keyPrefix, systemRandom.id());
  } finally {
    api.close();
  }
}

async function run(
  terminal: Terminal,
  options: SeedOptions,
  plan: Plan,
  pool: HttpPool,
  clock: Clock,
  signal: AbortSignal,
): Promise<RunResult> {
  const total = plan.orders.length;
  const place = placer({
    post: (body, key) => pool.post(API.placeOrder, body, key),
    order: (index) =>
      orderJson(plan.orders[index] ?? { customerId: "", lines: [], methodToken: "" }, options.wait),
    key: (index) => `${plan.key}-${index}`,
    clock,
    attemptsMax: ATTEMPTS_MAX,
    ...(options.verbose && {
      told: (index, outcome) => terminal.note(`${index + 1} ${JSON.stringify(outcome)}`),
    }),
  });
  let toldMs = 0;
  const progress = ({ done, failed, elapsedMs }: { done: number; failed: number; elapsedMs: number }) => {
    const rest = `${grouped((done * 1_000) / Math.max(1, elapsedMs))}/s  ${failed} failed`;
    terminal.status(progressLine(done + failed, total, rest));
    if (terminal.isTty || elapsedMs - toldMs < PLAIN_PROGRESS_MS) return;
    toldMs = elapsedMs;
    terminal.note(`${grouped(done + failed)} of ${grouped(total)} orders, ${rest}`);
  };
  const shared = { clock, place, signal, progress };
  const result =
    options.rate > 0
      ? await runOpen({ ...shared, ratePerSecond: options.rate, durationMs: Infinity, orders: total })
      : await runClosed({ ...shared, inFlight: options.concurrency, orders: total });
  terminal.status("");
  return result;
}

function finish(terminal: Terminal, result: RunResult, { failed, dropped }: Numbers): void {
  for (const line of failureLines(result.tally)) terminal.note(line);
  if (failed + dropped > 0) throw new ExitError(`${failed + dropped} orders failed`);
}
