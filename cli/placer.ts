import { type Clock, sleep } from "../platform/clock.ts";
import { type HttpAnswer, HttpPoolError } from "./http-pool.ts";
import type { PlaceOrder } from "./load-run.ts";
import { type Outcome, outcomeOf } from "./outcome.ts";

export interface PlacerOptions {
  readonly post: (body: string, key: string) => Promise<HttpAnswer>;
  readonly order: (index: number) => string;
  readonly key: (index: number) => string;
  readonly clock: Clock;
  /**
   * Calls of one order while the system says "later" or breaks off; they carry the same key. Default 1: no
   * repeat.
   */
  readonly attemptsMax?: number;
  readonly told?: (index: number, outcome: Outcome) => void;
}

const RETRY_MS_MIN = 100;
/** Safe to send again with the same key: nothing was accepted, or the answer was lost. */
const REPEATABLE = /^(resource_exhausted|unavailable|deadline_exceeded|ECONN|TIMEOUT|EPIPE)/;

/** Places orders by their number. */
export function placer(options: PlacerOptions): PlaceOrder {
  const { post, order, key, clock, attemptsMax = 1, told } = options;
  const once = async (body: string, requestId: string): Promise<Outcome> => {
    try {
      return outcomeOf(await post(body, requestId));
    } catch (error) {
      if (!(error instanceof HttpPoolError)) throw error;
      return { ok: false, code: error.code, message: error.message, retryAfterMs: 0 };
    }
  };
  return async (index) => {
    const body = order(index);
    const requestId = key(index);
    let outcome = await once(body, requestId);
    for (let attempt = 1; attempt < attemptsMax && !outcome.ok && REPEATABLE.test(outcome.code); attempt++) {
      await sleep(clock, Math.max(outcome.retryAfterMs, RETRY_MS_MIN * attempt));
      outcome = await once(body, requestId);
    }
    told?.(index, outcome);
    return outcome;
  };
}
