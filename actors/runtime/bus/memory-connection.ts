import type { Clock, TimerHandle } from "../../../platform/clock.ts";
import { assert } from "../assert.ts";
import {
  type Append,
  type AppendOutcome,
  type Bus,
  BusError,
  type CoreMessage,
  type Headers,
  type NoAnswer,
  type PullOptions,
  type ReadOptions,
  type StoredMessage,
  type StreamStatus,
  type Subscription,
} from "./bus.ts";
import { LIMITS } from "../limits.ts";
import { type MemoryConsumer, MemoryPull } from "./memory-consumer.ts";
import type { MemoryFaults, MemoryFate, MemoryOperation } from "./memory-faults.ts";
import { MemoryReader } from "./memory-reader.ts";
import { type MemoryStream, sizeOf } from "./memory-stream.ts";
import { isWildcard } from "./subject-match.ts";
import { MemoryWire } from "./memory-wire.ts";

/** Atomic batches of the server. */
const BATCH_MESSAGES_MAX = 1_000;
/** Subjects of one multi-get of the server. */
const SUBJECTS_MAX = 1_024;

/** Headers and data of one message. */
const PAYLOAD_BYTES_MAX = 1_048_576;

/** A core subscription as the server knows it. */
export interface MemoryInterest {
  readonly connection: MemoryConnection;
  readonly subject: string;
  readonly queue: string | undefined;
  readonly deliver: (message: CoreMessage) => void;
}

/** The server as its connections see it. */
export interface MemoryServer {
  readonly clock: Clock;
  faults(): MemoryFaults;
  isRunning(): boolean;
  /** Another number after each crash: what was on its way then is lost. */
  epoch(): number;
  /** @throws BusError if there is none. */
  stream(name: string): MemoryStream;
  streamOf(subject: string): MemoryStream | undefined;
  consumer(options: PullOptions): MemoryConsumer;
  findConsumer(stream: string, name: string): MemoryConsumer | undefined;
  /** To all that listen, streams included unless it is stored already; returns how many heard it. */
  route(message: CoreMessage, isStored?: boolean): number;
  addInterest(interest: MemoryInterest): void;
  removeInterest(interest: MemoryInterest): void;
  inbox(): string;
}

/** The bus of one simulated process. */
export class MemoryConnection implements Bus {
  readonly server: MemoryServer;
  readonly name: string;
  readonly #outbound: MemoryWire;
  readonly #open = new Set<Subscription>();
  #state: "running" | "frozen" | "crashed" = "running";
  /** What waits for the end of a freeze, in order. */
  #waiting: (() => void)[] = [];

  constructor(server: MemoryServer, name: string) {
    this.server = server;
    this.name = name;
    this.#outbound = new MemoryWire(server.clock);
  }

  isConnected(): boolean {
    return this.server.isRunning() && this.#state !== "crashed";
  }

  /** Everything that the process sees or sends passes here: never after a crash, later while frozen. */
  enter(run: () => void): void {
    if (this.#state === "running") run();
    else if (this.#state === "frozen") this.#waiting.push(run);
  }

  /** The process is gone: no promise settles and no callback runs. What it has sent may still arrive. */
  crash(): void {
    this.#state = "crashed";
    this.#waiting = [];
    for (const subscription of this.#open) subscription.close();
    this.#open.clear();
  }

  freeze(): void {
    if (this.#state === "running") this.#state = "frozen";
  }

  resume(): void {
    if (this.#state !== "frozen") return;
    this.#state = "running";
    const waiting = this.#waiting;
    this.#waiting = [];
    // A callback may freeze the process again: the rest waits on.
    for (const run of waiting) this.enter(run);
  }

  publish(subject: string, data: Uint8Array, headers: Headers = {}, replyTo = ""): void {
    if (data.length > LIMITS.messageBytesMax) throw new RangeError(`${data.length} bytes exceed max_payload`);
    const fate = this.#fate("publish", subject);
    this.enter(() => this.#send(fate, () => this.server.route({ subject, data, headers, replyTo })));
  }

  subscribe(
    subject: string,
    onMessage: (message: CoreMessage) => void,
    options: { readonly queue?: string } = {},
  ): Subscription {
    const wire = new MemoryWire(this.server.clock);
    let isClosed = false;
    const deliver = (message: CoreMessage) => {
      const target = message.subject;
      const fate = this.server.faults().delivery({ connection: this.name, kind: "core", target }) ?? {};
      if (fate.resetMs !== undefined) return;
      const arrive = () => {
        if (!isClosed) onMessage(message);
      };
      wire.send(fate.delayMs ?? 0, () => queueMicrotask(() => this.enter(arrive)));
    };
    const interest: MemoryInterest = { connection: this, subject, queue: options.queue, deliver };
    this.server.addInterest(interest);
    return this.#keep(() => {
      isClosed = true;
      wire.close();
      this.server.removeInterest(interest);
    });
  }

  request(subject: string, data: Uint8Array, timeoutMs: number): Promise<CoreMessage | NoAnswer> {
    const fate = this.#fate("request", subject);
    return new Promise((resolve) => {
      const replyTo = this.server.inbox();
      const end = (answer: CoreMessage | NoAnswer) => {
        timer.cancel();
        inbox.close();
        resolve(answer);
      };
      const inbox = this.subscribe(replyTo, end);
      const timer = this.server.clock.setTimer(() => this.enter(() => end("silence")), timeoutMs);
      if (!this.server.isRunning()) return queueMicrotask(() => this.enter(() => end("silence")));
      const ask = () => {
        const heard = this.server.route({ subject, data, headers: {}, replyTo });
        if (heard === 0 || fate.isUnheard === true) queueMicrotask(() => this.enter(() => end("nobody")));
      };
      this.enter(() => this.#send(fate, ask));
    });
  }

  append(message: Append): Promise<AppendOutcome> {
    const { subject } = message;
    if (sizeOf(message) > PAYLOAD_BYTES_MAX) {
      return Promise.resolve({ kind: "refused", full: false, reason: "maximum payload exceeded" });
    }
    return this.#write("append", subject, () => {
      this.server.route({ subject, data: message.data, headers: message.headers ?? {}, replyTo: "" }, true);
      return this.server.streamOf(subject)?.append(message);
    });
  }

  appendBatch(messages: readonly Append[]): Promise<AppendOutcome> {
    const subject = messages[0]?.subject ?? "";
    assert(messages.length > 0, "a batch holds at least one message");
    assert(
      messages.length <= BATCH_MESSAGES_MAX,
      `a batch holds ${messages.length} > ${BATCH_MESSAGES_MAX} messages`,
    );
    return this.#write("batch", subject, () => this.server.streamOf(subject)?.appendBatch(messages));
  }

  last(stream: string, subject: string): Promise<StoredMessage | undefined> {
    return this.#read("last", stream, (s) => (isWildcard(subject) ? s.newest(subject) : s.last(subject)));
  }

  get(stream: string, sequence: number): Promise<StoredMessage | undefined> {
    return this.#read("get", stream, (s) => s.get(sequence));
  }

  lastMany(stream: string, subjects: readonly string[]): Promise<ReadonlyMap<string, StoredMessage>> {
    assert(subjects.length <= SUBJECTS_MAX, `${subjects.length} > ${SUBJECTS_MAX} subjects in one multi-get`);
    return this.#read("lastMany", stream, (s) =>
      s.lastMany(subjects, this.server.faults().staleChanges(this.name, stream)),
    );
  }

  range(stream: string, filter: string, from: number, count: number): Promise<readonly StoredMessage[]> {
    return this.#read("range", stream, (s) => s.range(filter, from, count));
  }

  subjects(stream: string, filter: string): Promise<ReadonlyMap<string, number>> {
    return this.#read("subjects", stream, (s) => s.subjects(filter));
  }

  status(stream: string): Promise<StreamStatus> {
    return this.#read("status", stream, (s) => s.status());
  }

  purge(stream: string, filter: string, belowSequence?: number): Promise<number> {
    return this.#read("purge", stream, (s) => s.purge(filter, belowSequence));
  }

  purgeAcked(stream: string, consumer: string, filter: string): Promise<number> {
    return this.#read("purge", stream, (s) => {
      const floor = this.server.findConsumer(stream, consumer)?.ackFloor;
      if (floor === undefined) throw new BusError(`${stream} has no consumer ${consumer}`);
      return s.purge(filter, floor + 1);
    });
  }

  read(options: ReadOptions): Subscription {
    const reader = new MemoryReader(this, this.server.stream(options.stream), options);
    return this.#keep(() => reader.close());
  }

  pull(options: PullOptions): Subscription {
    const pull = new MemoryPull(this, this.server.consumer(options), options);
    return this.#keep(() => pull.close());
  }

  /** Sends something that is not answered. */
  tell(target: string, run: () => void): void {
    const fate = this.#fate("ack", target);
    this.enter(() => this.#send(fate, run));
  }

  #keep(close: () => void): Subscription {
    const subscription: Subscription = {
      close: () => {
        if (this.#open.delete(subscription)) close();
      },
    };
    if (this.#state === "crashed") close();
    else this.#open.add(subscription);
    return subscription;
  }

  #fate(kind: MemoryOperation["kind"], target: string): MemoryFate {
    return this.server.faults().operation({ connection: this.name, kind, target }) ?? {};
  }

  #send(fate: MemoryFate, run: () => void): void {
    if (fate.isRequestLost === true || !this.server.isRunning()) return;
    const epoch = this.server.epoch();
    this.#outbound.send(fate.requestDelayMs ?? 0, () => {
      if (this.server.epoch() === epoch && this.server.isRunning()) run();
    });
  }

  #write(
    kind: "append" | "batch",
    subject: string,
    store: () => AppendOutcome | undefined,
  ): Promise<AppendOutcome> {
    const unknown = (reason: string): AppendOutcome => ({ kind: "unknown", reason });
    const run = () => store() ?? unknown(`no stream takes ${subject}`);
    return this.#call(kind, subject, LIMITS.appendTimeoutMs, run, unknown);
  }

  #read<T>(kind: MemoryOperation["kind"], stream: string, run: (stream: MemoryStream) => T): Promise<T> {
    return this.#call(
      kind,
      stream,
      LIMITS.readTimeoutMs,
      () => run(this.server.stream(stream)),
      (reason) => {
        throw new BusError(`${kind} of ${stream}: ${reason}`);
      },
    );
  }

  #call<T>(
    kind: MemoryOperation["kind"],
    target: string,
    timeoutMs: number,
    run: () => T,
    onSilence: (reason: string) => T,
  ): Promise<T> {
    const fate = this.#fate(kind, target);
    return new Promise<T>((resolve, reject) => {
      let timer: TimerHandle | undefined;
      const settle = (produce: () => T) => {
        timer?.cancel();
        this.enter(() => {
          try {
            resolve(produce());
          } catch (error) {
            reject(error as Error);
          }
        });
      };
      this.enter(() => {
        if (!this.server.isRunning()) return settle(() => onSilence("not connected"));
        if (fate.isInFlight === true) return settle(() => onSilence("another write is in flight"));
        timer = this.#expectAnswer(fate, timeoutMs, () => settle(() => onSilence("timeout")));
        this.#transport(fate, run, settle, () => settle(() => onSilence("disconnected")));
      });
    });
  }

  /** Arms the timeout, only if it will be needed. */
  #expectAnswer(fate: MemoryFate, timeoutMs: number, onTimeout: () => void): TimerHandle | undefined {
    const { isRequestLost = false, isReplyLost = false, lateMs, requestDelayMs = 0, replyDelayMs = 0 } = fate;
    const wayMs = this.#outbound.delayMs(requestDelayMs) + replyDelayMs;
    const isCertain = !isRequestLost && !isReplyLost && lateMs === undefined && wayMs === 0;
    return isCertain ? undefined : this.server.clock.setTimer(onTimeout, timeoutMs);
  }

  #transport<T>(
    fate: MemoryFate,
    run: () => T,
    settle: (produce: () => T) => void,
    onBroken: () => void,
  ): void {
    const { isRequestLost = false, isReplyLost = false, lateMs, requestDelayMs = 0, replyDelayMs = 0 } = fate;
    const epoch = this.server.epoch();
    const land = () => {
      // The way of a late request does not end with the connection.
      if (lateMs === undefined && this.server.epoch() !== epoch) return onBroken();
      if (!this.server.isRunning()) return;
      const produce = attempt(run);
      if (isReplyLost || lateMs !== undefined) return;
      if (replyDelayMs <= 0) return settle(produce);
      const arrive = () => (this.server.epoch() === epoch ? settle(produce) : onBroken());
      this.server.clock.setTimer(arrive, replyDelayMs);
    };
    if (isRequestLost) return;
    if (lateMs !== undefined) this.server.clock.setTimer(land, lateMs);
    else this.#outbound.send(requestDelayMs, land);
  }
}

/** Runs now; the outcome is returned or thrown when asked for. */
function attempt<T>(run: () => T): () => T {
  try {
    const value = run();
    return () => value;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}
