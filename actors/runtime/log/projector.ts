import type { Clock, TimerHandle } from "../../../platform/clock.ts";
import type { Event } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Append } from "../bus/bus.ts";
import { eventHeaders, eventName } from "../event-message.ts";
import { LIMITS } from "../limits.ts";
import type { MemoryRecord } from "../step/record.ts";
import type { RecordStore } from "./record-store.ts";
import type { Topology } from "../topology.ts";
import type { Watermark } from "./watermark.ts";

/** What one projection did. */
interface Projected {
  readonly messages: number;
  /** One batch could not hold all that there was: the next one must not wait. */
  readonly isMore: boolean;
}

const NOTHING: Projected = { messages: 0, isMore: false };

/** Runs one projection after another with a rest between them, as long as there is something to project. */
class Pacer {
  readonly #clock: Clock;
  readonly #work: () => Promise<Projected>;
  readonly #onError: (error: unknown) => void;
  #timer: TimerHandle | undefined;
  #running: Promise<void> | undefined;
  /** Something came while a projection was under way, perhaps after it had looked for more. */
  #isWanted = false;
  #isStopped = false;
  #restMs: number = LIMITS.projectionDelayMs;

  constructor(
    clock: Clock,
    signal: AbortSignal,
    work: () => Promise<Projected>,
    onError: (error: unknown) => void,
  ) {
    this.#clock = clock;
    this.#work = work;
    this.#onError = onError;
    signal.addEventListener("abort", () => this.stop(), { once: true });
  }

  /** There is something to project: soon. */
  wake(): void {
    this.#isWanted = true;
    if (this.#isStopped || this.#timer !== undefined || this.#running !== undefined) return;
    this.#timer = this.#clock.setTimer(() => {
      this.#timer = undefined;
      this.#run();
    }, this.#restMs);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Projects until nothing is left; for a hand-over. */
  async drain(): Promise<void> {
    this.stop();
    await this.#running;
    for (let isDone = false; !isDone;) {
      const { messages, isMore } = await this.#work();
      isDone = messages === 0 && !isMore;
    }
  }

  #run(): void {
    this.#isWanted = false;
    this.#running = this.#work()
      .then(
        ({ messages, isMore }) => {
          this.#running = undefined;
          const restMs = Math.min(Math.max(messages, LIMITS.projectionDelayMs), LIMITS.projectionDelayMsMax);
          this.#restMs = isMore ? 0 : restMs;
          if (isMore || this.#isWanted) this.wake();
        },
        (error: unknown) => {
          this.#running = undefined;
          this.#onError(error);
        },
      )
      .then(() => undefined);
  }
}

/** What both projectors need. */
export interface ProjectorOptions {
  readonly clock: Clock;
  readonly topology: Topology;
  readonly group: string;
  readonly log: number;
  readonly signal: AbortSignal;
  readonly mark: Watermark;
  /** The log is lost, or something is broken. */
  readonly onError: (error: unknown) => void;
}

/** What the records' projector needs beside. */
export interface RecordProjectorOptions extends ProjectorOptions {
  readonly store: RecordStore;
  readonly lastCommit: () => number;
  readonly storedThrough: (last: number) => number;
  readonly onProjected: () => void;
}

/** Brings changed records into the bucket, coalesced, each batch with the watermark (J13, J16). */
export class RecordProjector {
  readonly #options: RecordProjectorOptions;
  readonly #pacer: Pacer;
  /** Records of the last batch and when they had changed. */
  #projected: ReadonlyMap<MemoryRecord, number> = new Map();

  constructor(options: RecordProjectorOptions) {
    this.#options = options;
    this.#pacer = new Pacer(options.clock, options.signal, () => this.#project(), options.onError);
  }

  wake(): void {
    this.#pacer.wake();
  }

  drain(): Promise<void> {
    return this.#pacer.drain();
  }

  /** One batch. */
  async #project(): Promise<Projected> {
    const { store, mark, lastCommit, storedThrough, onProjected } = this.#options;
    if (store.dirtyCount === 0 && storedThrough(lastCommit()) <= mark.replaySequence) return NOTHING;
    const { records, nextFirst } = store.takeDirty(LIMITS.batchMessagesMax, LIMITS.batchBytesMax);
    const logSequence = Math.max(mark.logSequence, nextFirst === undefined ? lastCommit() : nextFirst - 1);
    const versions = new Map<MemoryRecord, number>();
    for (const record of records.keys()) versions.set(record, record.changedAt);
    try {
      await mark.write(
        [...records.keys()].map((record) => this.#put(record)),
        logSequence,
        storedThrough(logSequence),
      );
    } catch (error) {
      store.putBackDirty(records);
      throw error;
    }
    this.#restUnchanged();
    this.#projected = versions;
    store.evict();
    onProjected();
    return { messages: records.size, isMore: nextFirst !== undefined };
  }

  /** Frees what has not changed from one projection to the next: a busy record is not decoded again each time. */
  #restUnchanged(): void {
    for (const [record, version] of this.#projected) if (record.changedAt === version) record.rest();
  }

  #put(record: MemoryRecord): Append {
    const subject = this.#options.topology.record(record.kind, record.tenant, record.key);
    if (record.committed.length === 0) {
      const headers = { "KV-Operation": "DEL" };
      return { subject, data: record.committed, headers, ttlSeconds: LIMITS.removedTtlSeconds };
    }
    const meta = record.committedMeta();
    const isAtRest = meta?.tasks.length === 0 && meta.timers.length === 0 && meta.waiters.length === 0;
    // J22: nothing may still refer to a record that goes; what was given up may still have its first outcome (J20).
    const ttlSeconds = isAtRest ? meta.ttlSeconds : 0;
    return ttlSeconds === 0
      ? { subject, data: record.committed }
      : { subject, data: record.committed, ttlSeconds };
  }
}

/** What the events' projector needs beside. */
export interface EventProjectorOptions extends ProjectorOptions {
  readonly lastCommit: () => number;
}

/** A watermark this far behind without an event to store is moved by itself. */
const ADVANCE_SEQUENCES_MIN = 5_000;

/** An event waiting to be stored, with its place in the journal. */
interface WaitingEvents {
  readonly sequence: number;
  readonly events: readonly Event[];
}

/** Brings events into EVENTS in log order, each once: a batch ends with the log's event watermark. */
export class EventProjector {
  readonly #options: EventProjectorOptions;
  readonly #pacer: Pacer;
  #waiting: WaitingEvents[] = [];
  #count = 0;
  /** One batch at a time: the watermark's own advance counts as one. */
  #idle: Promise<void> | undefined;

  constructor(options: EventProjectorOptions) {
    this.#options = options;
    this.#pacer = new Pacer(options.clock, options.signal, () => this.#project(), options.onError);
  }

  /** Events that wait to be stored. */
  get waitingCount(): number {
    return this.#count;
  }

  /** The events of one commit, in log order. */
  add(sequence: number, events: readonly Event[]): void {
    if (events.length === 0) return;
    this.#waiting.push({ sequence, events });
    this.#count += events.length;
    this.#pacer.wake();
  }

  async drain(): Promise<void> {
    await this.#pacer.drain();
    if (this.#options.mark.logSequence < this.#options.lastCommit())
      await this.#options.mark.write([], this.#options.lastCommit(), 0);
  }

  /** Moves the watermark of a log that has had no events for long, or at all while the journal holds too much. */
  async advance(isShort: boolean): Promise<void> {
    const { mark, lastCommit } = this.#options;
    const behindMin = isShort ? 1 : ADVANCE_SEQUENCES_MIN;
    if (this.#waiting.length > 0 || lastCommit() - mark.logSequence < behindMin) return;
    this.#idle ??= mark.write([], lastCommit(), 0).finally(() => (this.#idle = undefined));
    await this.#idle;
  }

  async #project(): Promise<Projected> {
    await this.#idle;
    const messages: Append[] = [];
    let taken = 0;
    let logSequence = 0;
    for (const { sequence, events } of this.#waiting) {
      if (messages.length > 0 && messages.length + events.length > LIMITS.batchMessagesMax) break;
      events.forEach((event, index) => messages.push(this.#message(event, sequence, index)));
      logSequence = sequence;
      taken++;
    }
    if (taken === 0) return NOTHING;
    const isMore = taken < this.#waiting.length;
    await this.#options.mark.write(messages, logSequence, logSequence);
    this.#waiting = this.#waiting.slice(taken);
    this.#count -= messages.length;
    return { messages: messages.length, isMore };
  }

  #message(event: Event, sequence: number, index: number): Append {
    const { topology, group, log } = this.#options;
    const { kind, tenant, key, type, json, trace, atMs } = event;
    const headers = eventHeaders({ type, log: `${group}.${log}`, sequence, index, atMs, trace });
    return { subject: topology.event(tenant, kind, key, eventName(type)), data: json, headers };
  }
}
