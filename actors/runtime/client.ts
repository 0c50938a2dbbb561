import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { ListEntry, ListPage, Load } from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";

/** Address of an actor within its kind. */
export interface ActorAddress {
  readonly tenant: string;
  readonly key: string;
}

/** How a command is sent. */
export interface CallOptions {
  /** Same id and same message: same answer, one effect. 1 to 255 characters. */
  readonly requestId: string;
  /** SHA-256 of the canonical request; by default that of the encoded message. */
  readonly fingerprint?: Uint8Array;
  /** How long to wait for the answer. What the stream has accepted is applied all the same. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** W3C traceparent. */
  readonly trace?: string;
}

/** An actor's answer. A refusal is thrown as DomainError. */
export interface CallResult<O extends DescMessage> {
  readonly message: MessageShape<O>;
  /** True if this answer had been given before. */
  readonly replayed: boolean;
}

/** A record as it was read. */
export interface ReadResult<S extends DescMessage> {
  /** Undefined: there is no such actor. */
  readonly state: MessageShape<S> | undefined;
  readonly revision: bigint;
  readonly createdMs: number;
  readonly updatedMs: number;
  /** Set when no owner answered and the bucket was read instead: the state may be this old. */
  readonly asOfMs: number | undefined;
}

/** One change of a record in the bucket. `state` is undefined when the record is gone. */
export interface RecordUpdate<S extends DescMessage> {
  readonly kind: string;
  readonly tenant: string;
  readonly key: string;
  readonly state: MessageShape<S> | undefined;
  readonly revision: bigint;
  /** Sequence in the bucket's stream: the cursor to resume from. */
  readonly sequence: number;
  readonly updatedMs: number;
}

/** One stored event. */
export interface StoredEvent {
  readonly sequence: number;
  readonly tenant: string;
  readonly kind: string;
  readonly key: string;
  /** Full name of the event's message. */
  readonly type: string;
  /** Protobuf-JSON. */
  readonly json: string;
  readonly atMs: number;
}

/** A message that could not be applied, and why. */
export interface DeadLetterInfo {
  readonly id: string;
  readonly kind: string;
  readonly tenant: string;
  readonly key: string;
  readonly method: string;
  readonly reason: string;
  readonly error: string;
  readonly atMs: number;
  readonly body: Uint8Array;
  readonly sequence: number;
}

/** A running watch. */
export interface Watch {
  /**
   * Resolves when every later change will be told: read the snapshot after it, and drop changes that are not newer.
   * It takes until NATS can be reached; wait no longer than your caller does.
   */
  readonly ready: Promise<void>;
  /** Idempotent; the listener is not called after it. */
  close(): void;
}

/** A call that got no answer: in time (`timeout`), or because the system is full (`overloaded`). */
export class CallError extends Error {
  override readonly name = "CallError";
  /**
   * timeout: outcome unknown, repeat with the same request id. overloaded, unavailable: not accepted. defect: it cannot
   * be applied, and is dead-lettered if it got that far.
   */
  readonly kind: "timeout" | "overloaded" | "unavailable" | "defect";
  readonly retryAfterMs: number;
  constructor(kind: CallError["kind"], message: string, retryAfterMs = 0) {
    super(message);
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The door to the actors from outside: commands, reads, lists, watches, dead letters. One per process. */
export interface ActorClient {
  /**
   * Sends a command and waits for the answer (a deferred one comes when the actor resolves it). Commands that wait
   * while a publish is under way travel together.
   * @throws DomainError the actor refused; CallError no answer
   */
  call<M extends DescMethodUnary>(
    method: M,
    address: ActorAddress,
    message: MessageInitShape<M["input"]>,
    options: CallOptions,
  ): Promise<CallResult<M["output"]>>;

  /** Asks the owner (linearizable); falls back to the bucket with `asOfMs`. @throws CallError */
  read<S extends DescMessage>(
    kind: string,
    schema: S,
    address: ActorAddress,
    timeoutMs?: number,
  ): Promise<ReadResult<S>>;
  /** Several at once, one question per log. */
  readMany<S extends DescMessage>(
    kind: string,
    schema: S,
    tenant: string,
    keys: readonly string[],
    timeoutMs?: number,
  ): Promise<ReadonlyMap<string, ReadResult<S>>>;
  /**
   * Newest states of the records of a kind and tenant that were stored behind a sequence of the bucket, oldest first.
   * Undefined if they are more than `countMax`, or the bucket does not reach that far.
   */
  changesSince<S extends DescMessage>(
    kind: string,
    schema: S,
    tenant: string,
    sequence: number,
    countMax: number,
  ): Promise<readonly RecordUpdate<S>[] | undefined>;
  /** All records of a kind and tenant whose key starts with `prefix`, from the bucket; for bounded sets only. */
  scan<S extends DescMessage>(
    kind: string,
    schema: S,
    tenant: string,
    prefix: string,
    countMax: number,
  ): Promise<readonly RecordUpdate<S>[]>;

  /**
   * Walks a list from its newest entry, or from behind `after`, until `countMax` entries match; looks at no more than
   * `listCandidatesMax`, so a short page may have a `next`.
   */
  list(
    tenant: string,
    name: string,
    after: { readonly createdMs: number; readonly id: string } | undefined,
    countMax: number,
    matches: (entry: ListEntry) => boolean,
  ): Promise<{
    readonly entries: readonly ListEntry[];
    readonly next: { readonly createdMs: number; readonly id: string } | undefined;
  }>;

  /** Tenants that have a list of this name. */
  tenantsOf(name: string): Promise<readonly string[]>;
  /** Pages of the part of a list that a log of `core` holds, from the oldest on; the open one is the last. */
  oldestPages(
    tenant: string,
    name: string,
    log: number,
    fromPage: number,
    countMax: number,
  ): Promise<readonly ListPage[]>;
  /**
   * Takes entries from the oldest page of that part, unless it is the open one; those that stay move on to the next
   * full page. Resolves when the request is durable; a repeat changes nothing.
   */
  trimList(
    tenant: string,
    name: string,
    log: number,
    trim: { readonly page: number; readonly ids: readonly string[] },
  ): Promise<void>;

  /**
   * Changes of records of a kind, fanned out from one reader per process: no consumer per watcher. `key` undefined: all
   * of the tenant. The listener is called synchronously and must not block. Close it when done. Changes come up to
   * 100 ms after the commit and close together; a read may be ahead of them.
   */
  watch<S extends DescMessage>(
    kind: string,
    schema: S,
    tenant: string,
    key: string | undefined,
    listener: (update: RecordUpdate<S>) => void,
  ): Watch;
  /** Events of a tenant as they are stored (or from `fromSequence` on), from one shared reader while live. */
  watchEvents(
    tenant: string,
    fromSequence: number | undefined,
    listener: (event: StoredEvent) => void,
  ): Watch;
  /** The newest event of one type that an actor has emitted; undefined if there is none, or none any more. */
  lastEvent(kind: string, address: ActorAddress, event: DescMessage): Promise<StoredEvent | undefined>;
  /** Stored events of one actor, oldest first. */
  history(kind: string, address: ActorAddress): Promise<readonly StoredEvent[]>;

  listDeadLetters(
    tenant: string | undefined,
    countMax: number,
    afterSequence?: number,
  ): Promise<readonly DeadLetterInfo[]>;
  getDeadLetter(id: string): Promise<DeadLetterInfo | undefined>;
  /** Sends the message again; the actor takes each dead letter once. False if there is none of that id. */
  redriveDeadLetter(id: string): Promise<boolean>;
  discardDeadLetter(id: string): Promise<boolean>;

  /** Newest word of each log's owner; none of an owner that has been silent for 5 s. */
  loads(): readonly Load[];
  /** Undefined when commands are accepted, else why not and when to try again. */
  refusal(): { readonly reason: string; readonly retryAfterMs: number } | undefined;
  close(): Promise<void>;
}
