import { type HttpAnswer, HttpPool, HttpPoolError } from "../../../cli/http-pool.ts";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { systemRandom } from "../../../platform/random.ts";

/** What came of one call. */
export type Result<R> =
  | { readonly ok: true; readonly value: R; readonly isReplayed: boolean; readonly gateway: string }
  | {
      readonly ok: false;
      /** Connect code, or `transport` when no answer came. */
      readonly code: string;
      /** Reason of ErrorInfo; empty without one. */
      readonly reason: string;
      readonly message: string;
      /** When to try again, as the answer said; 0 if it did not. */
      readonly retryAfterMs: number;
    };

export interface CallOptions {
  readonly key?: string;
  /** Position in the list of gateways; default: one after another. */
  readonly gateway?: number;
}

export interface SettleOptions extends CallOptions {
  /** How long to repeat; 60 s by default. */
  readonly forMs?: number;
  /** `not_found` is no end: it will be there. */
  readonly isFoundLater?: boolean;
}

const CONNECTIONS_MAX = 256;
/** Longer than the longest wait that the load asks for. */
const TIMEOUT_MS = 10_000;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 400;

/** Codes after which the same call with the same key may succeed. */
const RETRYABLE: ReadonlySet<string> = new Set([
  "transport",
  "unavailable",
  "deadline_exceeded",
  "aborted",
  "canceled",
]);
const CODES =
  /^(canceled|unknown|invalid_argument|deadline_exceeded|not_found|already_exists|permission_denied|resource_exhausted|failed_precondition|aborted|out_of_range|unimplemented|internal|unavailable|data_loss|unauthenticated)$/;
/** What no client may see: stacks, paths, words of the driver. */
const INSIDES = /\bat \S+ \(|node_modules|\.ts\b|jetstream|no responders|\(\d{3}\/\d{5}\)|ECONN|NatsError/i;

/** Plain JSON calls to any of several gateways, as a client makes them: a call that failed is repeated elsewhere. */
export class Api {
  /** Answers that broke the rule for errors (I13). */
  readonly malformed: string[] = [];
  readonly codes = new Map<string, number>();
  readonly #urls: () => readonly string[];
  readonly #pools = new Map<string, HttpPool>();
  readonly #timeoutMs: number;
  #turn = 0;

  constructor(urls: () => readonly string[], timeoutMs = TIMEOUT_MS) {
    this.#urls = urls;
    this.#timeoutMs = timeoutMs;
  }

  /** One try. */
  async call<R>(path: string, request: object, { key, gateway }: CallOptions = {}): Promise<Result<R>> {
    const urls = this.#urls();
    const url = urls[(gateway ?? this.#turn++) % urls.length] ?? "";
    try {
      const answer = await this.#pool(url).post(path, JSON.stringify(request), key);
      const { status, body, isReplayed } = answer;
      if (status === 200) return { ok: true, value: JSON.parse(body) as R, isReplayed, gateway: url };
      return this.#refused(path, answer);
    } catch (error) {
      if (!(error instanceof HttpPoolError)) throw error;
      const { code: reason, message } = error;
      return this.#count({ ok: false, code: "transport", reason, message, retryAfterMs: 0 });
    }
  }

  /** Repeats until it is answered for good, or the time is over. */
  async settle<R>(path: string, request: object, options: SettleOptions = {}): Promise<Result<R>> {
    const giveUpMs = systemClock.monotonicMs() + (options.forMs ?? 60_000);
    const spreadMs = RETRY_MS_MAX - RETRY_MS_MIN;
    for (;;) {
      const result = await this.call<R>(path, request, options);
      const isEnd =
        result.ok || !(isRetryable(result) || (options.isFoundLater === true && result.code === "not_found"));
      if (isEnd || systemClock.monotonicMs() > giveUpMs) return result;
      const afterMs = result.ok ? 0 : result.retryAfterMs;
      await sleep(systemClock, Math.max(afterMs, RETRY_MS_MIN) + systemRandom.float() * spreadMs);
    }
  }

  /** Repeats until it succeeds. @throws Error when it is refused for good */
  async must<R>(path: string, request: object, options: SettleOptions = {}): Promise<R> {
    const result = await this.settle<R>(path, request, options);
    if (result.ok) return result.value;
    throw new Error(`${path} ${JSON.stringify(request)}: ${result.code} ${result.reason} ${result.message}`);
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.close();
  }

  #pool(url: string): HttpPool {
    let pool = this.#pools.get(url);
    if (pool === undefined) {
      pool = new HttpPool({ url, connectionsMax: CONNECTIONS_MAX, timeoutMs: this.#timeoutMs });
      this.#pools.set(url, pool);
    }
    return pool;
  }

  #refused(path: string, { status, body, retryAfterMs }: HttpAnswer): Result<never> {
    let parsed: { code?: string; message?: string; details?: { debug?: { reason?: string } }[] } = {};
    try {
      parsed = JSON.parse(body) as typeof parsed;
    } catch {
      // reported below
    }
    const { code = "", message = "", details = [] } = parsed;
    if (!CODES.test(code) || INSIDES.test(message))
      this.malformed.push(`${path} answered ${status} with ${body.slice(0, 300)}`);
    const reason = details.find(({ debug }) => debug?.reason !== undefined)?.debug?.reason ?? "";
    const name = reason.replace(/^ERROR_REASON_/, "");
    return this.#count({ ok: false, code, reason: name, message, retryAfterMs });
  }

  #count(result: Result<never> & { ok: false }): Result<never> {
    const name = `${result.code}/${result.reason}`;
    this.codes.set(name, (this.codes.get(name) ?? 0) + 1);
    return result;
  }
}

/** Whether the same call with the same key may have another end. */
export function isRetryable(result: Result<unknown>): boolean {
  if (result.ok) return false;
  return RETRYABLE.has(result.code) || result.reason === "OVERLOADED" || result.reason === "QUOTA_EXCEEDED";
}
