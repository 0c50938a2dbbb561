import { type Clock, sleep } from "../../platform/clock.ts";
import type { Logger } from "../../platform/log.ts";
import type { Random } from "../../platform/random.ts";
import { type Entry, EntrySchema } from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Append, AppendOutcome, Bus, Headers } from "./bus/bus.ts";
import { CallError } from "./client.ts";
import { bundledBytes, encodeBundle } from "./codec/encode-bundle.ts";
import { encode } from "./codec/encode.ts";
import { HEADER } from "./headers.ts";
import { LIMITS } from "./limits.ts";
import type { Topology } from "./topology.ts";

/** What the writer needs from outside. */
export interface InboxWriterOptions {
  readonly bus: Pick<Bus, "append" | "isConnected">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly topology: Topology;
  /** Told of each bundle that is durable, and since when its oldest entry has waited (monotonic). */
  readonly onStored?: (group: string, log: number, sequence: number, sinceMs: number) => void;
}

/** Publishes under way per log: what arrives meanwhile waits and travels together. */
const BUNDLES_IN_FLIGHT_MAX = 1;
/** Entries of one log that wait for a publish; more are refused as overloaded. */
const ENTRIES_WAITING_MAX = 16_384;
/** Rest before the same bundle is sent again when its outcome is unknown; doubles up to the maximum. */
const RESEND_DELAY_MS = 50;
const RESEND_DELAY_MS_MAX = 500;
/** What a caller is told to wait when the store is full. */
const FULL_RETRY_AFTER_MS = 5_000;
const BUSY_RETRY_AFTER_MS = 500;

interface Waiting {
  readonly entry: Entry;
  readonly bytes: Uint8Array;
  /** Monotonic. */
  readonly deadlineMs: number;
  /** Monotonic. */
  readonly sinceMs: number;
  readonly resolve: () => void;
  readonly reject: (error: CallError) => void;
  /** Its promise is settled. */
  isOver: boolean;
}

interface Lane {
  readonly group: string;
  readonly log: number;
  readonly subject: string;
  waiting: Waiting[];
  inFlight: number;
  isScheduled: boolean;
}

/**
 * Appends entries to the inboxes of logs. Entries of one log that arrive while a publish is under way, or in the same
 * turn of the event loop, go out as one bundle; the logs are independent of each other. An entry may be stored more
 * than once when an outcome is unknown: actors take each once.
 */
export class InboxWriter {
  readonly #options: InboxWriterOptions;
  readonly #lanes = new Map<string, Lane>();
  #isClosed = false;
  #fullUntilMs = 0;

  constructor(options: InboxWriterOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the entry is durable.
   * @param deadlineMs monotonic; until then an unknown outcome is tried again
   * @throws CallError overloaded, unavailable: not stored; timeout: it may be stored; defect: it is too large
   */
  append(group: string, log: number, entry: Entry, deadlineMs = Infinity): Promise<void> {
    const lane = this.#lane(group, log);
    const bytes = encode(EntrySchema, entry);
    if (this.#isClosed) return Promise.reject(closedError());
    if (bundledBytes(bytes) > LIMITS.bundleBytesMax) {
      const text = `the message to ${entry.kind} ${entry.key} has ${bytes.length} bytes`;
      return Promise.reject(new CallError("defect", `${text}, send at most ${LIMITS.bodyBytesMax}`));
    }
    if (lane.waiting.length >= ENTRIES_WAITING_MAX) {
      const text = `${ENTRIES_WAITING_MAX} messages wait for ${lane.subject}`;
      return Promise.reject(new CallError("overloaded", text, BUSY_RETRY_AFTER_MS));
    }
    return new Promise((resolve, reject) => {
      const sinceMs = this.#options.clock.monotonicMs();
      lane.waiting.push({ entry, bytes, deadlineMs, sinceMs, resolve, reject, isOver: false });
      if (lane.inFlight >= BUNDLES_IN_FLIGHT_MAX || lane.isScheduled) return;
      lane.isScheduled = true;
      setImmediate(() => this.#flush(lane));
    });
  }

  /** True for a while after a stream refused an entry because it is full. */
  isFull(): boolean {
    return this.#options.clock.monotonicMs() < this.#fullUntilMs;
  }

  /** What waits is rejected; a publish under way ends by itself. */
  close(): void {
    this.#isClosed = true;
    for (const lane of this.#lanes.values()) {
      for (const waiting of lane.waiting.splice(0)) settle(waiting, closedError());
    }
  }

  #lane(group: string, log: number): Lane {
    const name = `${group}.${log}`;
    const known = this.#lanes.get(name);
    if (known) return known;
    const subject = this.#options.topology.inbox(group, log);
    const lane: Lane = { group, log, subject, waiting: [], inFlight: 0, isScheduled: false };
    this.#lanes.set(name, lane);
    return lane;
  }

  #flush(lane: Lane): void {
    lane.isScheduled = false;
    while (lane.inFlight < BUNDLES_IN_FLIGHT_MAX && lane.waiting.length > 0) {
      const bundle = this.#take(lane);
      if (bundle.length === 0) continue;
      lane.inFlight++;
      void this.#send(lane, bundle);
    }
  }

  /** As many entries as a bundle holds, without those that nobody waits for any more. */
  #take(lane: Lane): Waiting[] {
    const nowMs = this.#options.clock.monotonicMs();
    const bundle: Waiting[] = [];
    let bytes = 0;
    let taken = 0;
    for (const waiting of lane.waiting) {
      const size = bundledBytes(waiting.bytes);
      if (bundle.length === LIMITS.bundleEntriesMax || bytes + size > LIMITS.bundleBytesMax) break;
      taken++;
      if (waiting.deadlineMs <= nowMs) settle(waiting, lateError(lane));
      else {
        bundle.push(waiting);
        bytes += size;
      }
    }
    lane.waiting.splice(0, taken);
    return bundle;
  }

  async #send(lane: Lane, bundle: readonly Waiting[]): Promise<void> {
    try {
      await this.#deliver(lane, bundle);
    } catch (error) {
      const text = `cannot publish to ${lane.subject}`;
      this.#options.log.error({ err: error, subject: lane.subject }, "inbox writer failed");
      for (const waiting of bundle) settle(waiting, new CallError("unavailable", text));
    } finally {
      lane.inFlight--;
      this.#flush(lane);
    }
  }

  /** The same bytes under the same message id until the outcome is known or nobody waits for it any more. */
  async #deliver(lane: Lane, bundle: readonly Waiting[]): Promise<void> {
    const { bus, clock, random } = this.#options;
    const message: Append = {
      subject: lane.subject,
      data: encodeBundle(bundle.map(({ bytes }) => bytes)),
      headers: headersOf(bundle),
      messageId: random.id(),
    };
    let isDoubtful = false;
    for (let delayMs = RESEND_DELAY_MS; ; delayMs = Math.min(delayMs * 2, RESEND_DELAY_MS_MAX)) {
      const outcome = await bus.append(message);
      if (outcome.kind === "stored") {
        const { group, log } = lane;
        this.#options.onStored?.(group, log, outcome.sequence, bundle[0]?.sinceMs ?? clock.monotonicMs());
        for (const waiting of bundle) settle(waiting);
        return;
      }
      if (outcome.kind !== "unknown") {
        for (const waiting of bundle) settle(waiting, this.#refused(lane, outcome, isDoubtful));
        return;
      }
      isDoubtful = true;
      this.#options.log.debug(
        { subject: lane.subject, reason: outcome.reason },
        "outcome of a bundle unknown",
      );
      if (!this.#isAwaited(lane, bundle)) return;
      await sleep(clock, delayMs);
      while (!bus.isConnected() && this.#isAwaited(lane, bundle)) await sleep(clock, RESEND_DELAY_MS);
    }
  }

  /** Settles what is past its deadline; false if nothing else is left. */
  #isAwaited(lane: Lane, bundle: readonly Waiting[]): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    let isAwaited = false;
    for (const waiting of bundle) {
      if (waiting.isOver) continue;
      if (this.#isClosed || waiting.deadlineMs <= nowMs) settle(waiting, lateError(lane));
      else isAwaited = true;
    }
    return isAwaited;
  }

  #refused(
    lane: Lane,
    outcome: Exclude<AppendOutcome, { kind: "stored" | "unknown" }>,
    isDoubtful: boolean,
  ): CallError {
    const isFull = outcome.kind === "refused" && outcome.full;
    if (isFull) this.#fullUntilMs = this.#options.clock.monotonicMs() + FULL_RETRY_AFTER_MS;
    // An earlier copy may be stored, and its id may be out of the window: the refusal says nothing of that one.
    if (isDoubtful) return lateError(lane);
    const reason = outcome.kind === "refused" ? outcome.reason : "unexpected conflict";
    // For the operator; callers are not told in the server's words.
    this.#options.log.warn({ subject: lane.subject, reason }, "message to an inbox was refused");
    return isFull
      ? new CallError("overloaded", "the store is full", FULL_RETRY_AFTER_MS)
      : new CallError("unavailable", "the message was not accepted");
  }
}

function settle(waiting: Waiting, error?: CallError): void {
  if (waiting.isOver) return;
  waiting.isOver = true;
  if (error) waiting.reject(error);
  else waiting.resolve();
}

function closedError(): CallError {
  return new CallError("unavailable", "this process is shutting down");
}

function lateError(lane: Lane): CallError {
  return new CallError("timeout", `no word in time whether ${lane.subject} stored the message`);
}

/** A bundle of one is readable without decoding it. */
function headersOf(bundle: readonly Waiting[]): Headers {
  const [first] = bundle;
  if (first === undefined || bundle.length > 1) return { [HEADER.entries]: String(bundle.length) };
  const { kind, tenant, key, method, trace, source } = first.entry;
  const headers = {
    [HEADER.kind]: kind,
    [HEADER.tenant]: tenant,
    [HEADER.key]: key,
    [HEADER.type]: method === "" ? (source.case ?? "message") : method,
  };
  return trace === "" ? headers : { ...headers, [HEADER.trace]: trace };
}
