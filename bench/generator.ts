import { createApiClient } from "../cli/api-client.ts";
import { API, type WaitName } from "../cli/api-paths.ts";
import { ensureStocked } from "../cli/catalogue.ts";
import { HttpPool } from "../cli/http-pool.ts";
import { type PlaceOrder, runClosed, runOpen, type RunResult } from "../cli/load-run.ts";
import { nextOrder, orderJson, type OrderMix, type PlannedOrder } from "../cli/order-mix.ts";
import { placer } from "../cli/placer.ts";
import { systemClock } from "../platform/clock.ts";
import { seededRandom, systemRandom } from "../platform/random.ts";

/** What the orders of a row look like. */
export interface Orders {
  readonly lines: { readonly min: number; readonly max: number };
  /** One product for all. */
  readonly isHot: boolean;
}

const PRODUCTS = 100;
const CUSTOMERS = 1_000;
export const DECLINED_SHARE = 0.05;
const UNITS = 100_000_000;
const TIMEOUT_MS = 30_000;
const SEED = 1;
/** What is not answered so long after the end of the load has failed. */
const LATE_MS_MAX = 10_000;

interface Common {
  readonly wait: WaitName;
  readonly durationMs: number;
  /** Sockets; a request that finds none waits, and that counts. */
  readonly connectionsMax: number;
  /** Holds how many are under way. */
  readonly gauge?: { underWay: number };
}

/** Puts orders on one gateway; they are the same in every run with the same calls. */
export class Generator {
  readonly #url: string;
  readonly #signal: AbortSignal;
  readonly #mix: OrderMix;
  readonly #random = seededRandom(SEED);
  readonly #run = systemRandom.id();
  #runs = 0;

  /** @param signal no orders are started once it is aborted */
  constructor(url: string, { lines, isHot }: Orders, signal: AbortSignal) {
    this.#url = url;
    this.#signal = signal;
    this.#mix = {
      products: Array.from({ length: isHot ? 1 : PRODUCTS }, (_, at) =>
        isHot ? "hot" : `product-${at + 1}`,
      ),
      customerPrefix: "user-",
      customers: { min: 1, max: CUSTOMERS },
      lines,
      quantity: { min: 1, max: 3 },
      declinedShare: DECLINED_SHARE,
      wait: "settled",
    };
  }

  /** Makes the products and their stock. */
  async prepare(): Promise<void> {
    const api = createApiClient(this.#url);
    try {
      const wanted = this.#mix.products.map((id) => ({
        id,
        name: `Product ${id}`,
        price: 1_000n,
        taxRateBp: 1_900,
        units: UNITS,
      }));
      await ensureStocked(api, systemClock, wanted, "bench", this.#run);
    } finally {
      api.close();
    }
  }

  nextOrder(): PlannedOrder {
    return nextOrder(this.#mix, this.#random);
  }

  /** A key that no other order has. */
  nextKey(): string {
    return `bench-${this.#run}-${++this.#runs}`;
  }

  async closed(
    options: Common & { readonly inFlight: number; readonly orders?: number },
  ): Promise<RunResult> {
    const { inFlight, durationMs, orders } = options;
    return this.#with(options, (place) => {
      const limit = orders === undefined ? {} : { orders };
      return runClosed({ clock: systemClock, signal: this.#signal, place, inFlight, durationMs, ...limit });
    });
  }

  async open(
    options: Common & { readonly ratePerSecond: number; readonly inFlightMax?: number },
  ): Promise<RunResult> {
    const { ratePerSecond, durationMs, inFlightMax } = options;
    return this.#with(options, (place) => {
      const limit = inFlightMax === undefined ? {} : { inFlightMax };
      const load = { ratePerSecond, durationMs, ...limit };
      return runOpen({ clock: systemClock, signal: this.#signal, place, ...load });
    });
  }

  /** As a closed loop, with another way to place an order. */
  async closedBy(place: PlaceOrder, inFlight: number, durationMs: number): Promise<RunResult> {
    return runClosed({ clock: systemClock, signal: this.#signal, place, inFlight, durationMs });
  }

  async #with(
    { connectionsMax, wait, durationMs, gauge = { underWay: 0 } }: Common,
    run: (place: PlaceOrder) => Promise<RunResult>,
  ): Promise<RunResult> {
    const pool = new HttpPool({ url: this.#url, connectionsMax, timeoutMs: TIMEOUT_MS });
    const place = placer({
      post: (body, key) => pool.post(API.placeOrder, body, key),
      order: () => orderJson(this.nextOrder(), wait),
      key: () => this.nextKey(),
      clock: systemClock,
    });
    const counted: PlaceOrder = async (index) => {
      gauge.underWay++;
      const outcome = await place(index);
      gauge.underWay--;
      return outcome;
    };
    const late = systemClock.setTimer(() => pool.close(), durationMs + LATE_MS_MAX);
    try {
      return await run(counted);
    } finally {
      late.cancel();
      pool.close();
    }
  }
}
