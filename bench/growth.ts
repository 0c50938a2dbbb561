import { setTimeout } from "node:timers/promises";
import { API } from "../cli/api-paths.ts";
import { HttpPool } from "../cli/http-pool.ts";
import { LatencyHistogram, milliseconds } from "../cli/latency.ts";
import { type PlaceOrder, runClosed } from "../cli/load-run.ts";
import { orderJson } from "../cli/order-mix.ts";
import { placer } from "../cli/placer.ts";
import { grouped, table, type Terminal } from "../cli/terminal.ts";
import { systemClock } from "../platform/clock.ts";
import { Generator } from "./generator.ts";
import { diskBytes, type GrowthPoint, slopes } from "./growth-points.ts";
import { keep } from "./history.ts";
import { loadAverage, thisMachine } from "./machine.ts";
import { type Figures, mebibytes, rounded } from "./measure.ts";
import { unclean, USUAL_ORDERS } from "./row.ts";
import { SETUPS } from "./rows.ts";
import { serverFigures } from "./servers.ts";
import { type BenchSystem, startSystem } from "./system.ts";

/** What the growth of one system is measured with. */
export interface GrowthOptions {
  readonly orders: number;
  readonly setup: string;
  /** Records that the worker keeps in memory for each log, instead of the usual limit. */
  readonly recordsCachedMax?: number;
  readonly isKept: boolean;
  readonly signal: AbortSignal;
  readonly terminal: Terminal;
}

const IN_FLIGHT = 256;
const POINTS = 10;
const REST_MS = 3_000;
const IDS_MAX = 5_000;
const READS = 2_000;
const READS_IN_FLIGHT = 16;
/** More orders than that do not fit the gateway's Reconcile. */
const RECONCILE_ORDERS_MAX = 450_000;
/** After a restart so many orders are placed at once: they meet every log. */
const FIRST_ORDERS = 16;
const HEAL_MS_MAX = 60_000;
const RETRIES = 600;
const TIMEOUT_MS = 30_000;
const GET_ORDER = "/tradewind.order.v1.OrderService/GetOrder";
const ID = /"id":\s*"(ord_[^"]+)"/;

/** Fills one system with orders, then restarts its parts. @returns true if the books are clean after each part */
export async function runGrowth(options: GrowthOptions): Promise<boolean> {
  const { orders, setup, signal, terminal, isKept, recordsCachedMax } = options;
  const cache = recordsCachedMax === undefined ? {} : { recordsCachedMax };
  const system = await startSystem({ ...(SETUPS[setup] ?? never(setup)), ...cache });
  const loadBefore = loadAverage();
  try {
    const growth = new Growth(system, options);
    await growth.prepare();
    await growth.fill();
    const verdicts = [await growth.reconcile("filled")];
    await growth.restartServer();
    await growth.restartOwner();
    verdicts.push(await growth.reconcile("restarted"));
    const { points, figures } = growth;
    terminal.status("");
    for (const line of growthLines(setup, orders, points, figures)) terminal.out(line);
    const circumstances = {
      machine: thisMachine(),
      loadBefore,
      loadAfter: loadAverage(),
      versions: { [system.servers.name]: system.servers.version },
      seconds: 0,
    };
    if (isKept && !signal.aborted)
      keep("growth", circumstances, { setup, orders, ...cache, points, figures, verdicts });
    return verdicts.every((verdict) => verdict === "");
  } finally {
    await system.stop();
  }
}

function never(setup: string): never {
  throw new Error(`there is no setup ${setup}: choose of ${Object.keys(SETUPS).join(", ")}`);
}

class Growth {
  readonly points: GrowthPoint[] = [];
  figures: Figures = {};
  readonly #system: BenchSystem;
  readonly #options: GrowthOptions;
  readonly #generator: Generator;
  readonly #pool: HttpPool;
  readonly #ids: string[] = [];
  #placed = 0;

  constructor(system: BenchSystem, options: GrowthOptions) {
    this.#system = system;
    this.#options = options;
    this.#generator = new Generator(system.url, USUAL_ORDERS, options.signal);
    this.#pool = new HttpPool({ url: system.url, connectionsMax: IN_FLIGHT, timeoutMs: TIMEOUT_MS });
  }

  async prepare(): Promise<void> {
    this.#tell("products");
    await this.#generator.prepare();
    await this.#point(0);
  }

  /** Places the orders in equal parts and looks at the memory after each; the first part is also the warm-up. */
  async fill(): Promise<void> {
    const { orders, signal } = this.#options;
    const part = Math.ceil(orders / POINTS);
    for (let at = 1; at <= POINTS && !signal.aborted; at++) {
      const place = this.#placer();
      const { tally, elapsedMs } = await runClosed({
        clock: systemClock,
        signal,
        place,
        inFlight: IN_FLIGHT,
        orders: part,
        progress: ({ done }) =>
          this.#tell(`${grouped(this.#placed)} orders, part ${at} of ${POINTS}: ${grouped(done)}`),
      });
      if (tally.failed > 0)
        throw new Error(`${tally.failed} orders failed: ${[...tally.messages].join("; ")}`);
      await this.#point((tally.done * 1_000) / elapsedMs);
      if (at === 1 || at === POINTS) await this.#readSome(at === 1 ? "few" : "all");
    }
    await setTimeout(REST_MS);
    await this.#point(0);
    await this.#store();
  }

  /** kill -9 of nats-server; until it answers, and until orders are settled again. */
  async restartServer(): Promise<void> {
    this.#tell("nats-server restarts");
    const startMs = performance.now();
    const { members } = this.#system.servers;
    await Promise.all(members.map((member) => member.kill()));
    await Promise.all(members.map((member) => member.restart()));
    this.#add({ serverReadyMs: performance.now() - startMs });
    await this.#firstOrders();
    this.#add({ serverHealedMs: performance.now() - startMs });
  }

  /** kill -9 of the worker, which is started again at once; until orders of all logs are settled. */
  async restartOwner(): Promise<void> {
    this.#tell("the worker restarts");
    await this.#firstOrders();
    const startMs = performance.now();
    await this.#system.kill("worker");
    this.#system.startAgain("worker");
    await this.#firstOrders();
    this.#add({ ownerHealedMs: performance.now() - startMs });
    await this.#readSome("restarted");
  }

  /** @returns what is wrong; empty if nothing is, or if there are too many orders to tell */
  async reconcile(when: string): Promise<string> {
    if (this.#placed > RECONCILE_ORDERS_MAX) {
      this.#options.terminal.note(`too many orders for Reconcile, ${when}: not checked`);
      return "";
    }
    this.#tell(`reconcile, ${when}`);
    const startMs = performance.now();
    const problem = await unclean(this.#system.url);
    this.#add({ [`reconcileMs.${when}`]: performance.now() - startMs });
    if (problem !== "") this.#options.terminal.note(`the books differ, ${when}: ${problem}`);
    return problem;
  }

  #placer(): PlaceOrder {
    return placer({
      post: async (body, key) => {
        const answer = await this.#pool.post(API.placeOrder, body, key);
        const id = ID.exec(answer.body)?.[1];
        if (id === undefined) return answer; // refused while a part restarts: it is placed again
        this.#placed++;
        // Any order has the same chance to be among those that are read again.
        const at = this.#ids.length < IDS_MAX ? this.#ids.length : Math.floor(Math.random() * this.#placed);
        if (at < IDS_MAX) this.#ids[at] = id;
        return answer;
      },
      order: () => orderJson(this.#generator.nextOrder(), "settled"),
      key: () => this.#generator.nextKey(),
      clock: systemClock,
      attemptsMax: RETRIES,
    });
  }

  async #firstOrders(): Promise<void> {
    const place = this.#placer();
    const all = Promise.all(Array.from({ length: FIRST_ORDERS }, (_, at) => place(at)));
    const outcomes = await Promise.race([all, setTimeout(HEAL_MS_MAX, undefined, { ref: false })]);
    const isSettled = outcomes?.every(({ ok }) => ok) === true;
    if (!isSettled) throw new Error(`orders are not settled ${HEAL_MS_MAX} ms after the restart`);
  }

  /** Reads orders of any age, as a shop does. */
  async #readSome(when: string): Promise<void> {
    this.#tell(`reads, ${when}`);
    const histogram = new LatencyHistogram();
    let left = READS;
    const reader = async () => {
      while (left-- > 0) {
        const orderId = this.#ids[Math.floor(Math.random() * this.#ids.length)] ?? "";
        const startMs = performance.now();
        const { status } = await this.#pool.post(GET_ORDER, JSON.stringify({ orderId }));
        if (status !== 200) throw new Error(`GetOrder ${orderId} answers ${status}`);
        histogram.record(performance.now() - startMs);
      }
    };
    await Promise.all(Array.from({ length: READS_IN_FLIGHT }, reader));
    const { p50Ms, p99Ms } = histogram.summary();
    this.#add({ [`readP50Ms.${when}`]: p50Ms, [`readP99Ms.${when}`]: p99Ms });
  }

  async #point(ordersPerSecond: number): Promise<void> {
    const { servers } = this.#system;
    const disk = servers.members.reduce((sum, { dataDir }) => sum + diskBytes(dataDir), 0);
    const memory = Object.fromEntries(this.#system.memory());
    this.points.push({ orders: this.#placed, ordersPerSecond, memory, disk });
  }

  async #store(): Promise<void> {
    const { streams } = await serverFigures(this.#system.servers);
    for (const [name, { messages, bytes }] of streams) {
      this.#add({
        [`streamBytesPerOrder.${name}`]: bytes / this.#placed,
        [`streamMessages.${name}`]: messages,
      });
    }
    const [first, last] = [this.points[0], this.points.at(-1)];
    if (first === undefined || last === undefined) return;
    const members = this.#system.servers.members.length;
    const perOrder = (bytes: number) => bytes / this.#placed / members;
    this.#add({
      diskBytesPerOrder: perOrder(last.disk - first.disk),
      natsMemoryBytesPerOrder: perOrder((last.memory["nats"] ?? 0) - (first.memory["nats"] ?? 0)),
      ...slopes(this.points),
    });
  }

  #add(figures: Figures): void {
    const own = Object.entries(figures).map(([name, value]) => [name, rounded(value)] as const);
    this.figures = { ...this.figures, ...Object.fromEntries(own) };
  }

  #tell(line: string): void {
    this.#options.terminal.status(`growth: ${line}`);
  }
}

const ROLES = ["worker", "projection", "gateway", "nats"];

function growthLines(
  setup: string,
  orders: number,
  points: readonly GrowthPoint[],
  figures: Figures,
): string[] {
  const head = ["orders", "per s", ...ROLES.map((role) => `${role} MiB`), "disk MiB"];
  const rows = points.map(({ orders: count, ordersPerSecond, memory, disk }) => [
    grouped(count),
    ordersPerSecond === 0 ? "–" : grouped(ordersPerSecond),
    ...ROLES.map((role) => String(mebibytes(memory[role] ?? 0))),
    String(mebibytes(disk)),
  ]);
  const shown = Object.entries(figures).map(([name, value]) => [
    name,
    /Ms(\.|$)/.test(name) ? `${milliseconds(value)} ms` : value >= 100 ? grouped(value) : String(value),
  ]);
  return [
    `\n${setup}, ${grouped(orders)} orders, ${IN_FLIGHT} in flight`,
    ...table([head, ...rows]),
    "",
    ...table(shown),
  ];
}
