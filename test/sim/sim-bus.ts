import type { Clock } from "../../platform/clock.ts";
import type {
  Append,
  AppendOutcome,
  Bus,
  CoreMessage,
  Headers,
  NoAnswer,
  PullOptions,
  ReadOptions,
  StoredMessage,
  StreamStatus,
  Subscription,
} from "../../actors/runtime/bus/bus.ts";

/** What a simulation adds to a bus. */
export interface SimBusOptions {
  readonly clock: Clock;
  /** How old an answer of a follower is, in milliseconds; asked once for each read that any replica may answer. */
  readonly staleness: () => number;
}

/** A bus whose ranges may be answered by a follower that lags: what was stored last is missing. */
export class SimBus implements Bus {
  readonly #inner: Bus;
  readonly #options: SimBusOptions;
  /** Told before each write leaves; may crash the process. */
  onWrite: ((subject: string) => void) | undefined;

  constructor(inner: Bus, options: SimBusOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  publish(subject: string, data: Uint8Array, headers?: Headers, replyTo?: string): void {
    this.#inner.publish(subject, data, headers, replyTo);
  }

  subscribe(
    subject: string,
    onMessage: (message: CoreMessage) => void,
    options?: { readonly queue?: string },
  ): Subscription {
    return this.#inner.subscribe(subject, onMessage, options);
  }

  request(subject: string, data: Uint8Array, timeoutMs: number): Promise<CoreMessage | NoAnswer> {
    return this.#inner.request(subject, data, timeoutMs);
  }

  append(message: Append): Promise<AppendOutcome> {
    this.onWrite?.(message.subject);
    return this.#inner.append(message);
  }

  appendBatch(messages: readonly Append[]): Promise<AppendOutcome> {
    this.onWrite?.(messages.at(-1)?.subject ?? "");
    return this.#inner.appendBatch(messages);
  }

  last(stream: string, subject: string): Promise<StoredMessage | undefined> {
    return this.#inner.last(stream, subject);
  }

  get(stream: string, sequence: number): Promise<StoredMessage | undefined> {
    return this.#inner.get(stream, sequence);
  }

  lastMany(stream: string, subjects: readonly string[]): Promise<ReadonlyMap<string, StoredMessage>> {
    return this.#inner.lastMany(stream, subjects);
  }

  async range(
    stream: string,
    filter: string,
    fromSequence: number,
    count: number,
  ): Promise<readonly StoredMessage[]> {
    const found = await this.#inner.range(stream, filter, fromSequence, count);
    const staleMs = this.#options.staleness();
    if (staleMs <= 0) return found;
    const untilMs = this.#options.clock.nowMs() - staleMs;
    return found.filter(({ timestampMs }) => timestampMs <= untilMs);
  }

  subjects(stream: string, filter: string): Promise<ReadonlyMap<string, number>> {
    return this.#inner.subjects(stream, filter);
  }

  status(stream: string): Promise<StreamStatus> {
    return this.#inner.status(stream);
  }

  purge(stream: string, filter: string, belowSequence?: number): Promise<number> {
    return this.#inner.purge(stream, filter, belowSequence);
  }

  purgeAcked(stream: string, consumer: string, filter: string): Promise<number> {
    return this.#inner.purgeAcked(stream, consumer, filter);
  }

  read(options: ReadOptions): Subscription {
    return this.#inner.read(options);
  }

  pull(options: PullOptions): Subscription {
    return this.#inner.pull(options);
  }

  isConnected(): boolean {
    return this.#inner.isConnected();
  }
}
