import type { HttpAnswer } from "./http-pool.ts";

/** What became of one order that was placed. */
export type Outcome =
  | { readonly ok: true; readonly status: string; readonly reason: string; readonly isReplayed: boolean }
  | { readonly ok: false; readonly code: string; readonly message: string; readonly retryAfterMs: number };

const STATUS = /"status":\s*"ORDER_STATUS_([A-Z_]+)"/;
const REASON = /"code":\s*"ORDER_REASON_CODE_([A-Z_]+)"/;
const REACHED = /"waitReached":\s*true/;
const MESSAGE_CHARACTERS_MAX = 300;

/**
 * Reads the answer of PlaceOrder. It picks what it needs out of the text, as parsing the whole order would cost the
 * generator more than sending it. An order that did not get as far as was asked for is a failure, `wait_not_reached`.
 */
export function outcomeOf({ status, body, isReplayed, retryAfterMs }: HttpAnswer): Outcome {
  if (status !== 200) return refusal(status, body, retryAfterMs);
  if (!REACHED.test(body)) {
    const message = `accepted, but not as far as asked for in time: ${STATUS.exec(body)?.[1] ?? "no order"}`;
    return { ok: false, code: "wait_not_reached", message, retryAfterMs: 0 };
  }
  const reason = REASON.exec(body)?.[1] ?? "UNSPECIFIED";
  return {
    ok: true,
    status: STATUS.exec(body)?.[1] ?? "UNSPECIFIED",
    reason: reason === "UNSPECIFIED" ? "" : reason,
    isReplayed,
  };
}

function refusal(status: number, body: string, retryAfterMs: number): Outcome {
  try {
    const { code, message, details } = JSON.parse(body) as {
      code?: string;
      message?: string;
      details?: { debug?: { reason?: string } }[];
    };
    const reason = details?.find(({ debug }) => debug?.reason !== undefined)?.debug?.reason;
    if (code !== undefined) {
      const name = reason === undefined ? code : `${code} ${reason.replace(/^ERROR_REASON_/, "")}`;
      return { ok: false, code: name, message: message ?? "", retryAfterMs };
    }
  } catch {
    // it is not the gateway that answers
  }
  return { ok: false, code: `http_${status}`, message: body.slice(0, MESSAGE_CHARACTERS_MAX), retryAfterMs };
}

/** Codes that say that nothing was accepted, or what was: all others leave it open, a lost connection among them. */
const KNOWN =
  /^(wait_not_reached|resource_exhausted|invalid_argument|failed_precondition|not_found|already_exists|permission_denied|unauthenticated|out_of_range|aborted|unimplemented|http_4)/;

/** True where the caller cannot know whether the order was accepted, and must ask again with the same key. */
export function isUnknown(outcome: Outcome): boolean {
  return !outcome.ok && !KNOWN.test(outcome.code);
}

/** Counts outcomes. Only orders that got as far as asked count as done. */
export class Tally {
  done = 0;
  failed = 0;
  /** Of those that failed. */
  unknown = 0;
  replayed = 0;
  /** By status, or by status and reason: `CONFIRMED`, `REJECTED PAYMENT_DECLINED`. */
  readonly byStatus = new Map<string, number>();
  readonly byFailure = new Map<string, number>();
  /** Message of the first failure of each kind, for the report. */
  readonly messages = new Map<string, string>();

  add(outcome: Outcome): void {
    if (outcome.ok) {
      this.done++;
      if (outcome.isReplayed) this.replayed++;
      count(this.byStatus, outcome.reason === "" ? outcome.status : `${outcome.status} ${outcome.reason}`);
      return;
    }
    this.failed++;
    if (isUnknown(outcome)) this.unknown++;
    count(this.byFailure, outcome.code);
    if (!this.messages.has(outcome.code)) this.messages.set(outcome.code, outcome.message);
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
