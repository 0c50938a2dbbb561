/**
 * The seam between the runtime and NATS: core messages, JetStream appends with their honest outcomes, reads.
 * Two implementations, the memory bus and the JetStream bus, pass one contract suite (`bus.contract.ts`).
 */

/** Header names and values of one message. */
export type Headers = Readonly<Record<string, string>>;

/** A message as core NATS delivers it. */
export interface CoreMessage {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: Headers;
  /** Subject to answer on, empty if no answer is expected. */
  readonly replyTo: string;
}

/** A message as a stream stores it. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  /** When the stream stored it, by the server's clock. */
  readonly timestampMs: number;
  readonly headers: Headers;
  readonly data: Uint8Array;
}

/** A message to append to a stream. */
export interface Append {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers?: Headers;
  /** Compare-and-set: the sequence of the last message on this subject, 0 if there must be none. */
  readonly expectLastSequence?: number;
  /** Saves a repeat within the stream's window; correctness never rests on it. */
  readonly messageId?: string;
  /** Deletes the message after this time; whole seconds, at least 1. */
  readonly ttlSeconds?: number;
  /** Keeps the message as a schedule: at `atMs` the server publishes it to `target`. */
  readonly schedule?: { readonly atMs: number; readonly target: string };
}

/**
 * What became of an append (J10).
 * `stored`: durable. `conflict`: the compare-and-set failed, definitely not stored by this attempt.
 * `refused`: definitely not stored (`full` when the reason is a storage limit). `unknown`: it may or may not be stored.
 */
export type AppendOutcome =
  | { readonly kind: "stored"; readonly sequence: number; readonly duplicate: boolean }
  | { readonly kind: "conflict" }
  | { readonly kind: "refused"; readonly full: boolean; readonly reason: string }
  | { readonly kind: "unknown"; readonly reason: string };

/** What a stream says of itself. */
export interface StreamStatus {
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly createdAtMs: number;
  readonly messages: number;
  readonly bytes: number;
  /** The stream's byte limit, Infinity without one. */
  readonly bytesMax: number;
}

/** How a reader starts: at a sequence (inclusive), with the newest message of each subject, or with what comes next. */
export type ReadFrom = { readonly sequence: number } | "last-per-subject" | "new";

/** What a reader reads and whom it tells. Callbacks run one after another, in stream order. */
export interface ReadOptions {
  readonly stream: string;
  readonly filters: readonly string[];
  readonly from: ReadFrom;
  /** Messages come without their data. */
  readonly headersOnly?: boolean;
  /**
   * The headers that most messages have, in the order in which they were written; the last may be absent. Others are
   * read all the same, and not as fast.
   */
  readonly headerNames?: readonly string[];
  readonly onMessage: (message: StoredMessage) => void;
  /** Called each time everything that was stored at some moment since the start has been delivered. */
  readonly onCaughtUp?: () => void;
}

/** A running reader or subscription. Closing is idempotent; no callback runs after it. */
export interface Subscription {
  close(): void;
}

/** One delivery of a durable consumer. Exactly one of ack, nak and abandon ends it. */
export interface Delivery {
  readonly message: StoredMessage;
  /** 1 at the first delivery. */
  readonly attempt: number;
  /** Ends the message for good. */
  ack(): void;
  /** Asks for another delivery after `delayMs`. */
  nak(delayMs: number): void;
  /** Tells the server that work goes on: restarts the ack wait. */
  working(): void;
}

/** The durable consumer that one queue's workers share. */
export interface PullOptions {
  readonly stream: string;
  /** Durable name; created when absent, created again when somebody deletes it. */
  readonly consumer: string;
  readonly description: string;
  readonly filter: string;
  readonly ackWaitMs: number;
  /** Deliveries without an ack, over all workers. */
  readonly ackPendingMax: number;
  /** Deliveries held by this process at once. */
  readonly inFlightMax: number;
  readonly onDelivery: (delivery: Delivery) => void;
}

/** A call to NATS that failed before an outcome could be known; safe to repeat for reads. */
export class BusError extends Error {
  override readonly name = "BusError";
}

/** Why a request has no answer: nobody listens to its subject, or nothing came in time. */
export type NoAnswer = "nobody" | "silence";

/** NATS as the runtime sees it. Reads throw BusError when no complete answer came in time. */
export interface Bus {
  /** Core publish: at most once, no answer. @throws Error if it is larger than a message may be */
  publish(subject: string, data: Uint8Array, headers?: Headers, replyTo?: string): void;
  subscribe(
    subject: string,
    onMessage: (message: CoreMessage) => void,
    options?: { readonly queue?: string },
  ): Subscription;
  /**
   * Core request: the first answer within `timeoutMs`. `nobody` is what one server knows: another one that has just
   * been connected to it may have listeners.
   */
  request(subject: string, data: Uint8Array, timeoutMs: number): Promise<CoreMessage | NoAnswer>;

  append(message: Append): Promise<AppendOutcome>;
  /** All of them or none, in order; all subjects belong to one stream; `sequence` is that of the last. 1 to 1,000. */
  appendBatch(messages: readonly Append[]): Promise<AppendOutcome>;

  /** The newest message of a subject, or of all that match a filter, from the stream's leader. */
  last(stream: string, subject: string): Promise<StoredMessage | undefined>;
  /** The message with this sequence, from the stream's leader; undefined if it is gone. */
  get(stream: string, sequence: number): Promise<StoredMessage | undefined>;
  /** The newest message of each of 1,024 subjects or fewer, from any replica, as of one moment; a cut answer throws. */
  lastMany(stream: string, subjects: readonly string[]): Promise<ReadonlyMap<string, StoredMessage>>;
  /** Up to `count` messages from `fromSequence` on that match the filter, in order; empty at the end. */
  range(
    stream: string,
    filter: string,
    fromSequence: number,
    count: number,
  ): Promise<readonly StoredMessage[]>;
  /** How many messages each subject under the filter holds, as the stream's leader says. */
  subjects(stream: string, filter: string): Promise<ReadonlyMap<string, number>>;
  /** From the stream's leader. */
  status(stream: string): Promise<StreamStatus>;
  /** Deletes what matches the filter, only below `belowSequence` where given; returns how many went. */
  purge(stream: string, filter: string, belowSequence?: number): Promise<number>;

  /** Deletes what matches the filter and lies below everything that the durable consumer has not acked. */
  purgeAcked(stream: string, consumer: string, filter: string): Promise<number>;

  /** Reads in order, without gap or repeat, and heals itself (deleted consumer, lost leader, reconnect). */
  read(options: ReadOptions): Subscription;
  pull(options: PullOptions): Subscription;

  /** False while there is no connection to a server. */
  isConnected(): boolean;
}
