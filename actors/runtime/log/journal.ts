import { sleep, type Clock } from "../../../platform/clock.ts";
import { CommitSchema, type Commit } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { BusError, type Bus, type Headers, type StoredMessage } from "../bus/bus.ts";
import { LIMITS } from "../limits.ts";
import { decode } from "../codec/decode.ts";

/** What became of a commit: it is the log's last message, another owner's is, or it can never be stored; or not now. */
export type CommitOutcome =
  | { readonly kind: "committed"; readonly sequence: number }
  | { readonly kind: "full" }
  | { readonly kind: "fenced" }
  | { readonly kind: "refused"; readonly reason: string };

/** The last message of a log. */
export interface LogEnd {
  readonly sequence: number;
  readonly commit: Commit;
}

/** Repeats a read until it answers; the caller's owner may be stopped meanwhile. */
export async function untilAnswered<T>(
  clock: Clock,
  signal: AbortSignal,
  read: () => Promise<T>,
): Promise<T> {
  for (let delayMs: number = LIMITS.retryDelayMs; ; delayMs = Math.min(delayMs * 2, LIMITS.retryDelayMsMax)) {
    signal.throwIfAborted();
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      await sleep(clock, delayMs, signal);
    }
  }
}

/** Reads the log's last message from the leader. */
export async function readLogEnd(bus: Bus, stream: string, subject: string): Promise<LogEnd | undefined> {
  const last = await bus.last(stream, subject);
  return last && { sequence: last.sequence, commit: decodeCommit(last) };
}

export function decodeCommit(message: StoredMessage): Commit {
  return decode(CommitSchema, message.data);
}

/** Appends to one log by compare-and-set: offset, dedupe and fence in one (J10). */
export class Journal {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #stream: string;
  readonly #subject: string;
  readonly #signal: AbortSignal;
  /** Sequence of the log's last message that we know. */
  #last: number;
  /** True while the store refuses for lack of space. */
  isFull = false;
  /** Monotonic time at which the last acked append was sent (J23). */
  ackedSentMs: number;

  constructor(
    bus: Bus,
    clock: Clock,
    names: { stream: string; subject: string },
    last: number,
    signal: AbortSignal,
  ) {
    this.#bus = bus;
    this.#clock = clock;
    this.#stream = names.stream;
    this.#subject = names.subject;
    this.#last = last;
    this.#signal = signal;
    this.ackedSentMs = clock.monotonicMs();
  }

  /** Sequence of the last message of the log. */
  get last(): number {
    return this.#last;
  }

  /**
   * Appends one commit, whatever it takes: an unknown outcome is looked up, and the byte-identical commit sent
   * again where the predecessor is still the last. One append at a time. With `isGivenBack` a commit that is certain
   * not to be stored ends as `full` where space is wanting, so that a smaller one can be tried.
   * @throws the signal's reason when the owner is stopped meanwhile; the outcome is then unknown
   */
  async append(id: string, data: Uint8Array, headers: Headers, isGivenBack = false): Promise<CommitOutcome> {
    let isCertain = isGivenBack;
    let delayMs: number = LIMITS.retryDelayMs;
    for (let delayMsMax: number; ; delayMs = Math.min(delayMs * 2, delayMsMax)) {
      this.#signal.throwIfAborted();
      const sentMs = this.#clock.monotonicMs();
      const message = { subject: this.#subject, data, headers, expectLastSequence: this.#last };
      const outcome = await this.#bus.append(message);
      if (outcome.kind === "stored" && !outcome.duplicate) return this.#committed(outcome.sequence, sentMs);
      if (outcome.kind === "refused" && !outcome.full) return { kind: "refused", reason: outcome.reason };
      if (outcome.kind === "refused") {
        this.isFull = true;
        if (isCertain) return { kind: "full" };
        delayMsMax = LIMITS.refusedDelayMsMax;
        await sleep(this.#clock, delayMs, this.#signal);
        continue;
      }
      isCertain = false;
      delayMsMax = LIMITS.retryDelayMsMax;
      const readMs = this.#clock.monotonicMs();
      const end = await untilAnswered(this.#clock, this.#signal, () =>
        readLogEnd(this.#bus, this.#stream, this.#subject),
      );
      if (end?.commit.id === id) return this.#committed(end.sequence, readMs);
      if ((end?.sequence ?? 0) !== this.#last) return { kind: "fenced" };
      await sleep(this.#clock, delayMs, this.#signal);
    }
  }

  #committed(sequence: number, sentMs: number): CommitOutcome {
    this.#last = sequence;
    this.ackedSentMs = sentMs;
    this.isFull = false;
    return { kind: "committed", sequence };
  }
}
