import {
  ReadReplySchema,
  ReadRequestSchema,
  RecordSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Bus, CoreMessage, Subscription } from "../bus/bus.ts";
import { LIMITS } from "../limits.ts";
import type { RecordId, RecordStore } from "./record-store.ts";
import { encode } from "../codec/encode.ts";
import { decode } from "../codec/decode.ts";
import { create } from "../codec/create.ts";

/** What answering reads needs. */
export interface ReadsOptions {
  readonly bus: Bus;
  readonly subject: string;
  readonly store: RecordStore;
  readonly epoch: bigint;
  readonly lastSequence: () => number;
  readonly isFresh: () => boolean;
}

/** Reads that wait for cold records. */
const READS_WAITING_MAX = 1_000;

/** The reads of one owner: answered from committed versions, by an owner that is surely one (J7, J23). */
export class Reads {
  readonly #options: ReadsOptions;
  readonly #subscription: Subscription;
  #waiting: { readonly message: CoreMessage; readonly ids: readonly RecordId[] }[] = [];

  constructor(options: ReadsOptions) {
    this.#options = options;
    this.#subscription = options.bus.subscribe(options.subject, (message) => this.#onRequest(message));
  }

  /** Records have been loaded: what waited may be answered. */
  onLoaded(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { message, ids } of waiting) this.#answer(message, ids);
  }

  close(): void {
    this.#subscription.close();
    this.#waiting = [];
  }

  #onRequest(message: CoreMessage): void {
    let request;
    try {
      request = decode(ReadRequestSchema, message.data);
    } catch {
      return; // nobody of ours asks like that; it hears nothing, like a question to no owner
    }
    if (!this.#options.isFresh() || Number(request.logSequenceMin) > this.#options.lastSequence()) return;
    this.#answer(message, request.ids);
  }

  #answer(message: CoreMessage, ids: readonly RecordId[]): void {
    const { bus, store, epoch, lastSequence, isFresh } = this.#options;
    const records = ids.map((id) => store.get(id));
    const cold = ids.filter((_, index) => records[index] === undefined);
    if (cold.length > 0) {
      if (this.#waiting.length >= READS_WAITING_MAX) return;
      this.#waiting.push({ message, ids });
      for (const id of cold) store.want(id);
      return;
    }
    if (!isFresh()) return;
    const reply = create(ReadReplySchema, {
      epoch,
      logSequence: BigInt(lastSequence()),
      records: fitting(records.map((record) => visible(record?.committed ?? ABSENT))),
    });
    bus.publish(message.replyTo, encode(ReadReplySchema, reply));
  }
}

const ABSENT = new Uint8Array(0);
/** Tag and length of a record in the answer. */
const FRAME_BYTES = 8;

/** The first ones, as many as one message holds: the caller asks for the others again. One record always fits. */
function fitting(records: readonly Uint8Array[]): Uint8Array[] {
  let room = LIMITS.messageBytesMax - LIMITS.headerBytesMax;
  const end = records.findIndex(({ length }) => (room -= length + FRAME_BYTES) < 0);
  return end < 0 ? [...records] : records.slice(0, end);
}

/** A record that only remembers a refusal is no actor yet. */
function visible(committed: Uint8Array): Uint8Array {
  if (committed.length === 0 || committed.length > 4_096) return committed;
  const { revision } = decode(RecordSchema, committed);
  return revision === 0n ? ABSENT : committed;
}
