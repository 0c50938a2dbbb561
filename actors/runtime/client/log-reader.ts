import { type Clock, sleep } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import {
  MarkSchema,
  ReadReplySchema,
  ReadRequestSchema,
  type Record as RecordMessage,
  RecordSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { type Bus, BusError } from "../bus/bus.ts";
import { CallError } from "../client.ts";
import { LIMITS } from "../limits.ts";
import type { SeenLogs } from "./seen-logs.ts";
import type { Topology } from "../topology.ts";
import { encode } from "../codec/encode.ts";
import { decode } from "../codec/decode.ts";
import { create } from "../codec/create.ts";

/** What the reader needs from outside. */
export interface LogReaderOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  readonly topology: Topology;
  readonly seen: SeenLogs;
}

/** A record as its owner or the bucket gave it. */
export interface RawRead {
  /** Undefined: there is no such record. */
  readonly record: RecordMessage | undefined;
  /** Set when the bucket answered: everything up to then is in it. */
  readonly asOfMs: number | undefined;
}

/** Ids of one question: an answer of records of usual size stays far below the largest message. */
const IDS_PER_QUESTION_MAX = 64;
/** Reads of this process that wait for an answer; more are refused as overloaded. */
const READS_WAITING_MAX = 16_384;
/** One question to the owner. */
const ASK_TIMEOUT_MS = 500;
/** Questions to the owner before the bucket is read. */
const ASKS_MAX = 2;
/** Rest before asking again, where no answer could come at once. */
const ASK_AGAIN_MS = 100;
const BUSY_RETRY_AFTER_MS = 500;

interface Ask {
  readonly kind: string;
  readonly tenant: string;
  readonly key: string;
  readonly promise: Promise<RawRead>;
  readonly resolve: (read: RawRead) => void;
  readonly reject: (error: unknown) => void;
  timeoutMs: number;
}

interface Lane {
  readonly group: string;
  readonly log: number;
  waiting: Map<string, Ask>;
  isScheduled: boolean;
}

/**
 * Reads committed records from the owners of their logs. Reads of one log within one turn of the event loop share a
 * question. A read never falls behind what this process has seen of the log (J23).
 */
export class LogReader {
  readonly #options: LogReaderOptions;
  readonly #lanes = new Map<string, Lane>();
  #waiting = 0;
  #isReadable = true;

  constructor(options: LogReaderOptions) {
    this.#options = options;
  }

  /** @throws CallError overloaded; timeout: neither the owner nor a bucket that is new enough answered */
  read(
    group: string,
    log: number,
    kind: string,
    tenant: string,
    key: string,
    timeoutMs?: number,
  ): Promise<RawRead> {
    const lane = this.#lane(group, log);
    const id = `${kind}/${tenant}/${key}`;
    const known = lane.waiting.get(id);
    const wantedMs = timeoutMs ?? LIMITS.readWaitMs;
    if (known) {
      known.timeoutMs = Math.max(known.timeoutMs, wantedMs);
      return known.promise;
    }
    if (this.#waiting >= READS_WAITING_MAX) {
      const text = `${READS_WAITING_MAX} reads of this process wait for their answers`;
      return Promise.reject(new CallError("overloaded", text, BUSY_RETRY_AFTER_MS));
    }
    this.#waiting++;
    const { promise, resolve, reject } = Promise.withResolvers<RawRead>();
    lane.waiting.set(id, { kind, tenant, key, promise, resolve, reject, timeoutMs: wantedMs });
    if (!lane.isScheduled) {
      lane.isScheduled = true;
      setImmediate(() => this.#flush(lane));
    }
    return promise;
  }

  #lane(group: string, log: number): Lane {
    const name = `${group}.${log}`;
    const known = this.#lanes.get(name);
    if (known) return known;
    const lane: Lane = { group, log, waiting: new Map(), isScheduled: false };
    this.#lanes.set(name, lane);
    return lane;
  }

  #flush(lane: Lane): void {
    lane.isScheduled = false;
    const asks = [...lane.waiting.values()];
    lane.waiting = new Map();
    for (let at = 0; at < asks.length; at += IDS_PER_QUESTION_MAX) {
      void this.#serve(lane, asks.slice(at, at + IDS_PER_QUESTION_MAX));
    }
  }

  async #serve(lane: Lane, asks: readonly Ask[]): Promise<void> {
    try {
      const reads = await this.#find(lane, asks);
      for (const [index, ask] of asks.entries())
        ask.resolve(reads[index] ?? { record: undefined, asOfMs: undefined });
    } catch (error) {
      for (const ask of asks) ask.reject(error);
    } finally {
      this.#waiting -= asks.length;
    }
  }

  /** Asks the owner twice, then the bucket, and so on until time is up. */
  async #find(lane: Lane, asks: readonly Ask[]): Promise<readonly RawRead[]> {
    const { clock, seen } = this.#options;
    const sequenceMin = seen.get(lane.group, lane.log);
    const timeoutMs = Math.max(...asks.map((ask) => ask.timeoutMs));
    const askMs = Math.min(ASK_TIMEOUT_MS, Math.ceil(timeoutMs / (ASKS_MAX + 1)));
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    for (let attempt = 1; ; attempt++) {
      const startedMs = clock.monotonicMs();
      const reads =
        attempt % (ASKS_MAX + 1) === 0
          ? await this.#readBucket(lane, asks, sequenceMin)
          : await this.#askOwner(lane, asks, sequenceMin, askMs);
      if (reads) return reads;
      const nowMs = clock.monotonicMs();
      if (nowMs >= deadlineMs) {
        const text = `no owner of log ${lane.group}.${lane.log} answers`;
        throw new CallError("timeout", `${text}, and its bucket is older than what was seen`, LIMITS.leaseMs);
      }
      const restMs = Math.min(startedMs + ASK_AGAIN_MS, deadlineMs) - nowMs;
      if (restMs > 0) await sleep(clock, restMs);
    }
  }

  async #askOwner(
    lane: Lane,
    asks: readonly Ask[],
    sequenceMin: bigint,
    askMs: number,
  ): Promise<readonly RawRead[] | undefined> {
    const { bus, topology, seen, log } = this.#options;
    const ids = asks.map(({ kind, tenant, key }) => ({ kind, tenant, key }));
    const question = create(ReadRequestSchema, { ids, logSequenceMin: sequenceMin });
    try {
      const subject = topology.read(lane.group, lane.log);
      const message = await bus.request(subject, encode(ReadRequestSchema, question), askMs);
      if (typeof message === "string") return undefined;
      const { records, logSequence } = decode(ReadReplySchema, message.data);
      if (records.length === 0 || records.length > asks.length || logSequence < sequenceMin) return undefined;
      seen.see(lane.group, lane.log, logSequence);
      const reads = records.map((bytes) => ({ record: decodeRecord(bytes), asOfMs: undefined }));
      // What did not fit into one message is asked for by itself.
      const rest = asks.slice(records.length);
      const others = rest.length === 0 ? [] : await this.#askOwner(lane, rest, sequenceMin, askMs);
      return others && [...reads, ...others];
    } catch (error) {
      log.warn({ err: error, log: lane.log }, "question to an owner failed");
      return undefined;
    }
  }

  /** Undefined if the bucket cannot be read or is older than what this process has seen of the log. */
  async #readBucket(
    lane: Lane,
    asks: readonly Ask[],
    sequenceMin: bigint,
  ): Promise<readonly RawRead[] | undefined> {
    const { bus, topology, seen, log } = this.#options;
    const subjects = asks.map(({ kind, tenant, key }) => topology.record(kind, tenant, key));
    const markSubject = topology.mark(lane.group, lane.log);
    try {
      const found = await bus.lastMany(topology.streams.actors, [...subjects, markSubject]);
      const mark = found.get(markSubject);
      const sequence = mark === undefined ? 0n : decode(MarkSchema, mark.data).logSequence;
      if (sequence < sequenceMin) return undefined;
      seen.see(lane.group, lane.log, sequence); // another replica may be behind this one
      if (!this.#isReadable) log.info({ log: lane.log }, "bucket is readable again");
      this.#isReadable = true;
      const asOfMs = mark?.timestampMs ?? 0;
      return subjects.map((subject) => ({ record: decodeRecord(found.get(subject)?.data), asOfMs }));
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      // Said once: while a server is away every read comes here, many times a second.
      if (this.#isReadable) log.warn({ err: error, log: lane.log }, "bucket is not readable");
      this.#isReadable = false;
      return undefined;
    }
  }
}

/** Empty bytes are no record; one without revision and state only remembers refusals. */
export function decodeRecord(bytes: Uint8Array | undefined): RecordMessage | undefined {
  if (bytes === undefined || bytes.length === 0) return undefined;
  const record = decode(RecordSchema, bytes);
  return record.revision === 0n && record.state.length === 0 ? undefined : record;
}
