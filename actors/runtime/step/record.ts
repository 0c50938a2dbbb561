import type { DescMessage, Message } from "@bufbuild/protobuf";
import {
  RecordSchema,
  type Record as RecordMessage,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { assert } from "../assert.ts";
import { BytesPool } from "../codec/bytes-pool.ts";
import type { MessageWriter } from "../codec/message-writer.ts";
import { encode } from "../codec/encode.ts";
import { decode } from "../codec/decode.ts";
import { create } from "../codec/create.ts";

const ABSENT = new Uint8Array(0);
const NO_STATE = new Uint8Array(0);
/** Field 1 of `Record`, length-delimited. */
const STATE_TAG = 0x0a;
/** Records stay for long, and those that come together go together. */
const resting = new BytesPool();

/** Decoded form of a record while messages are applied to it. */
export interface Working {
  /** All but the state's bytes. */
  readonly meta: RecordMessage;
  readonly state: Message;
}

/** What a record waits for, and what becomes of it when that is nothing. */
export type Standing = Pick<RecordMessage, "timers" | "tasks" | "waiters" | "ttlSeconds">;

/** Standings of records that wait for nothing, by their time to live. */
const closed = new Map<number, Standing>();

function closedFor(ttlSeconds: number): Standing {
  const known = closed.get(ttlSeconds);
  if (known !== undefined) return known;
  const standing = { timers: [], tasks: [], waiters: [], ttlSeconds };
  closed.set(ttlSeconds, standing);
  return standing;
}

/** Name of a record within its bucket: `kind.tenant.key`. */
export function recordName(kind: string, tenant: string, key: string): string {
  return `${kind}.${tenant}.${key}`;
}

/**
 * One actor's record in the memory of its log's owner (J7). `committed` is what the last acked commit made of it,
 * and all that readers and projections see; the working version is what the commit being built makes of it.
 */
export class MemoryRecord {
  readonly kind: string;
  readonly tenant: string;
  readonly key: string;
  /** Encoded Record of the last acked commit; empty if there is no record. */
  committed: Uint8Array;
  /** Log sequence of the last acked commit that changed it; 0 if it is as it was loaded. */
  changedAt = 0;
  /** Part of the commit being built or under way: must stay in memory. */
  isHeld = false;
  /** Asked for since room was made the last time. */
  isUsed = false;
  /** The store has let go of it, or has another one in its place. */
  isForgotten = false;
  /** The next record of the same tenant and key in the store. */
  sibling: MemoryRecord | undefined;
  /** Encoding of the working version; undefined when stale. */
  #bytes: Uint8Array | undefined;
  #working: Working | undefined;
  #schema: DescMessage | undefined;
  #isResting = true;
  /** The last commit left a timer, a task or a waiter. */
  #wasOpen = false;
  /** Set where the committed version is known to wait for nothing. */
  #closed: Standing | undefined;

  constructor(kind: string, tenant: string, key: string, committed: Uint8Array = ABSENT) {
    this.kind = kind;
    this.tenant = tenant;
    this.key = key;
    this.committed = committed.length === 0 ? ABSENT : resting.copy(committed);
    this.#bytes = this.committed;
  }

  get name(): string {
    return recordName(this.kind, this.tenant, this.key);
  }

  /** The working version, decoded at first use. */
  open(schema: DescMessage): Working {
    this.#schema = schema;
    if (this.#working === undefined) {
      const meta =
        this.#bytes && this.#bytes.length > 0 ? decode(RecordSchema, this.#bytes) : create(RecordSchema);
      const state = meta.state.length > 0 ? decode(schema, meta.state) : create(schema);
      meta.state = NO_STATE;
      this.#working = { meta, state };
    }
    return this.#working;
  }

  /** Encodes the working version, so that a step that fails can be undone by {@link undo}. */
  bytes(): Uint8Array {
    if (this.#bytes === undefined) {
      assert(this.#working !== undefined && this.#schema !== undefined, "a changed record is open");
      const { meta, state } = this.#working;
      meta.state = encode(this.#schema, state);
      this.#bytes = encode(RecordSchema, meta);
      meta.state = NO_STATE;
    }
    return this.#bytes;
  }

  /** Writes the bytes of the working version, which are to be kept by {@link keepBytes} if they were stale. */
  write(writer: MessageWriter): void {
    if (this.#bytes !== undefined) return writer.bytes(this.#bytes);
    assert(this.#working !== undefined && this.#schema !== undefined, "a changed record is open");
    const { meta, state } = this.#working;
    const stateAt = writer.begin(STATE_TAG);
    writer.fields(this.#schema, state);
    if (writer.end(stateAt) === 0) writer.drop(stateAt - 1);
    writer.fields(RecordSchema, meta);
  }

  /** The encoding of the working version, where it has been written. */
  keepBytes(bytes: Uint8Array): void {
    this.#bytes ??= bytes;
  }

  /** The encoding of the working version if there is one that is not stale. */
  freshBytes(): Uint8Array | undefined {
    return this.#bytes;
  }

  /** Says that the working version was changed since it was last encoded. */
  touched(): void {
    this.#bytes = undefined;
  }

  /** Back to the last encoding: what a failed step did is gone. Call {@link bytes} before the step. */
  undo(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#working = undefined;
    this.#closed = undefined;
  }

  /** Makes the working version absent. */
  clear(): void {
    this.#bytes = ABSENT;
    this.#working = undefined;
  }

  /** Frees the decoded form of a record that is at rest, and memory that its bytes share with what came with them. */
  rest(): void {
    if (this.#bytes !== this.committed) return;
    this.#working = undefined;
    if (this.#isResting) return;
    this.#isResting = true;
    this.committed = resting.copy(this.committed);
    this.#bytes = this.committed;
  }

  /** Timers, tasks and time to live as the last commit has them. */
  committedMeta(): Standing | undefined {
    if (this.committed.length === 0) return undefined;
    if (this.#closed !== undefined) return this.#closed;
    if (this.#working !== undefined && this.#bytes === this.committed) return this.#working.meta;
    return decode(RecordSchema, this.committed);
  }

  /**
   * The commit that holds the working version is acked. A record that waits for nothing any more rarely changes again:
   * its decoded form goes at once, while collecting it is cheap.
   */
  commit(logSequence: number): void {
    this.committed = this.bytes();
    this.#isResting = false;
    this.changedAt = logSequence;
    const { meta } = this.#working ?? {};
    const isOpen = meta !== undefined && meta.timers.length + meta.tasks.length + meta.waiters.length > 0;
    const isClosing = this.#wasOpen && meta !== undefined && !isOpen;
    this.#closed = isClosing ? closedFor(meta.ttlSeconds) : undefined;
    if (isClosing) this.#working = undefined;
    this.#wasOpen = isOpen;
  }

  /** The commit is refused for good: back to the committed version. */
  rollback(): void {
    this.undo(this.committed);
  }
}
