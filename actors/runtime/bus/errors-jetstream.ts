import { type AppendOutcome, BusError } from "./bus.ts";

/** What JetStream answers when it does not do what it was asked. */
export interface ApiError {
  readonly code: number;
  readonly err_code?: number;
  readonly description?: string;
}

/** Numbers of nats-server's errors.json; texts change, numbers do not. */
export const ERROR_CODE = Object.freeze({
  /** The compare-and-set failed; definite. */
  wrongLastSequence: 10_071,
  /** Another write on the subject is in flight (R3): the outcome of the race is open. */
  wrongLastSequenceInFlight: 10_164,
  /** A cut batch: a member was refused without an answer, or the leader changed. */
  batchIncomplete: 10_176,
  noMessage: 10_037,
  streamNotFound: 10_059,
  consumerNotFound: 10_014,
  /** Too few servers of the cluster are there to place a stream: they may be about to come. */
  noPeers: 10_005,
});

/** A limit of the stream, the account or the disk. */
const FULL = new Set([10_002, 10_023, 10_028, 10_047, 10_077]);

/** Codes below 500 that do not tell what became of the message (J10). */
const OPEN = new Set<number>([ERROR_CODE.wrongLastSequenceInFlight, ERROR_CODE.batchIncomplete]);

/** What an error answer to an append means (J10): only what is known to mean "not stored" is a refusal. */
export function outcomeOfError(error: ApiError): AppendOutcome {
  const { code, err_code: number = 0 } = error;
  const reason = describeError(error);
  if (number === ERROR_CODE.wrongLastSequence) return { kind: "conflict" };
  if (FULL.has(number)) return { kind: "refused", full: true, reason };
  // 408, 409 and 429: busy, a repeat in process, overload.
  const isOpen =
    OPEN.has(number) || number === 0 || code >= 500 || code === 408 || code === 409 || code === 429;
  return isOpen ? { kind: "unknown", reason } : { kind: "refused", full: false, reason };
}

export function describeError({ code, err_code: number, description }: ApiError): string {
  return `${description ?? "error"} (${code}/${number ?? 0})`;
}

/** A JetStream API call that the server answered with an error. */
export class ApiCallError extends BusError {
  readonly errorCode: number;
  /** Asking again would not help. */
  readonly isLasting: boolean;

  constructor(call: string, error: ApiError) {
    super(`${call}: ${describeError(error)}`);
    this.errorCode = error.err_code ?? 0;
    const isBusy =
      error.code >= 500 || [408, 409, 429].includes(error.code) || this.errorCode === ERROR_CODE.noPeers;
    this.isLasting = !isBusy || FULL.has(this.errorCode);
  }
}
