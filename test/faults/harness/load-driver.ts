import { sleep, systemClock } from "../../../platform/clock.ts";
import { type Random, seededRandom } from "../../../platform/random.ts";
import type { Api, Result } from "./api.ts";
import { Diary, type DiaryEntry } from "./diary.ts";
import { mayFollow, type OrderView, statusOf } from "./order-view.ts";
import { type OrderPlan, placeRequest, planOrder } from "./shop.ts";

export interface LoadOptions {
  readonly orders: number;
  /** Orders that begin in a second, evenly, as long as no more than `inFlightMax` are under way. */
  readonly ratePerS?: number;
  readonly inFlightMax?: number;
  readonly seed?: number;
  /** Keys begin with it: another part of the same test takes another one. */
  readonly keyPrefix?: string;
  /** Changes each plan. */
  readonly adapt?: (plan: OrderPlan) => OrderPlan;
  /** How long a client repeats an order that is not accepted. */
  readonly patienceMs?: number;
}

const RATE_PER_S = 200;
const IN_FLIGHT_MAX = 96;
const PATIENCE_MS = 90_000;
const TICK_MS = 5;
const BUSY_MS = 250;
const PLACE = "/tradewind.order.v1.OrderService/PlaceOrder";
const CANCEL = "/tradewind.order.v1.OrderService/CancelOrder";

type Placed = { readonly order: OrderView };

/** Clients that place orders, repeat what failed with the same key, and write down what they were told. */
export class LoadDriver {
  readonly diary: Diary;
  /** Resolves when every client is done. */
  readonly done: Promise<void>;
  readonly #api: Api;
  readonly #options: LoadOptions;
  readonly #random: Random;
  readonly #waiting: { count: number; resolve: () => void }[] = [];
  /** Begin and end of plain orders: paid at once, waited for, of plentiful products. */
  readonly #plain: { readonly sentMs: number; endMs: number }[] = [];
  #inFlight = 0;
  #finished = 0;
  #isStopped = false;
  #isOver = false;

  constructor(api: Api, options: LoadOptions, diary = new Diary()) {
    this.#api = api;
    this.#options = options;
    this.diary = diary;
    this.#random = seededRandom(options.seed ?? 1);
    this.done = this.#run();
  }

  get finished(): number {
    return this.#finished;
  }

  /** Clients that have begun and are not done. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Waits until so many clients are done, or all: faults go into the middle, whatever the machine's speed. */
  reached(count: number): Promise<void> {
    if (this.#finished >= count || this.#isOver) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ count, resolve }));
  }

  /** No new orders. */
  stop(): void {
    this.#isStopped = true;
  }

  /**
   * How long after `faultMs` the last plain order was settled that was under way then or began up to a second later:
   * then all logs work again. Of a fault that lasts it contains its duration. 0 without any.
   */
  recoveryMs(faultMs: number, windowMs = 1_000): number {
    const hit = this.#plain.filter(({ sentMs, endMs }) => endMs > faultMs && sentMs < faultMs + windowMs);
    return Math.round(Math.max(0, ...hit.map(({ endMs }) => endMs - faultMs)));
  }

  async #run(): Promise<void> {
    const { orders, ratePerS = RATE_PER_S, inFlightMax = IN_FLIGHT_MAX, keyPrefix = "k" } = this.#options;
    const clients: Promise<void>[] = [];
    const startMs = systemClock.monotonicMs();
    let begun = 0;
    while (begun < orders && !this.#isStopped) {
      const due = ((systemClock.monotonicMs() - startMs) / 1_000) * ratePerS;
      while (begun < Math.min(orders, due) && this.#inFlight < inFlightMax) {
        const plan = planOrder(this.#random, `${keyPrefix}-${++begun}`);
        clients.push(this.#client(this.#options.adapt?.(plan) ?? plan));
      }
      await sleep(systemClock, TICK_MS);
    }
    await Promise.all(clients);
    this.#isOver = true;
    for (const { resolve } of this.#waiting) resolve();
  }

  async #client(plan: OrderPlan): Promise<void> {
    this.#inFlight++;
    const entry = this.diary.open(plan, systemClock.monotonicMs());
    const isPlain =
      plan.methodToken === "tok_ok" && plan.wait === "WAIT_SETTLED" && plan.cancelAfterMs === undefined;
    const span = { sentMs: entry.sentMs, endMs: Infinity };
    if (isPlain && !plan.isAbandoned && plan.isPoison === undefined) this.#plain.push(span);
    try {
      await Promise.all([this.#place(entry), plan.isDoubled ? this.#place(entry) : undefined]);
      span.endMs = systemClock.monotonicMs();
      if (plan.cancelAfterMs !== undefined && entry.order !== undefined) {
        await sleep(systemClock, plan.cancelAfterMs);
        await this.#cancel(entry, entry.order);
      }
    } finally {
      this.#inFlight--;
      this.#finished++;
      for (const { count, resolve } of this.#waiting) if (this.#finished >= count) resolve();
    }
  }

  async #place(entry: DiaryEntry): Promise<void> {
    const { plan } = entry;
    const { key } = plan;
    const request = placeRequest(plan);
    const forMs = this.#options.patienceMs ?? PATIENCE_MS;
    const result = await this.#send(plan, request, forMs);
    entry.tries++;
    if (result.ok) this.diary.heard(key, result.value.order, systemClock.monotonicMs(), "PlaceOrder");
    else if (!plan.isAbandoned && plan.isPoison === undefined)
      this.diary.blame(`key ${key} was never accepted: ${wordsOf(result)}`);
  }

  async #send(plan: OrderPlan, request: object, forMs: number): Promise<Result<Placed>> {
    const { key } = plan;
    if (plan.isAbandoned) return this.#api.call<Placed>(PLACE, request, { key });
    if (plan.isPoison === undefined) return this.#api.settle<Placed>(PLACE, request, { key, forMs });
    // A defect is met once: what was not accepted is sent again, what may have been is not.
    for (;;) {
      const result = await this.#api.call<Placed>(PLACE, request, { key });
      if (result.ok || result.reason !== "OVERLOADED") return result;
      await sleep(systemClock, BUSY_MS);
    }
  }

  async #cancel(entry: DiaryEntry, { id }: OrderView): Promise<void> {
    const { key } = entry.plan;
    const request = { orderId: id, reason: "changed my mind" };
    const result = await this.#api.settle<Placed>(CANCEL, request, {
      key: `cancel-${key}`,
      forMs: PATIENCE_MS,
    });
    if (result.ok) {
      const status = statusOf(result.value.order);
      entry.cancel = status;
      this.diary.heard(key, result.value.order, systemClock.monotonicMs(), "CancelOrder");
      if (!mayFollow("CANCELLING", status)) this.diary.blame(`CancelOrder of ${id} answered ${status}`);
    } else if (result.reason === "INVALID_TRANSITION") entry.cancel = result.reason;
    else this.diary.blame(`CancelOrder of ${id} was refused: ${wordsOf(result)}`);
  }
}

function wordsOf(result: Result<unknown>): string {
  return result.ok ? "ok" : `${result.code} ${result.reason} ${result.message}`;
}
