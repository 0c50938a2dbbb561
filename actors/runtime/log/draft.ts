import {
  AddressedSchema,
  type CommitKind,
  CommitSchema,
  DeadLetterSchema,
  PositionSchema,
  RecordChangeSchema,
  type Addressed,
  type Commit,
  type DeadLetter,
  type Entry,
  type Event,
  type Schedule,
  type Task,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { assert } from "../assert.ts";
import type { Headers } from "../bus/bus.ts";
import type { Input, InputSource, Taken } from "./inputs.ts";
import { LIMITS } from "../limits.ts";
import type { MemoryRecord } from "../step/record.ts";
import type { Effects, PendingReply } from "../step/step-context.ts";
import { encode } from "../codec/encode.ts";
import { MessageWriter } from "../codec/message-writer.ts";
import { create } from "../codec/create.ts";

/** What every message on a log says beside its changes (J2). */
export interface CommitHead {
  readonly kind: CommitKind;
  readonly id: string;
  readonly epoch: bigint;
  readonly owner: string;
  readonly positions: ReadonlyMap<InputSource, Taken>;
  readonly streams: StreamNames;
  readonly takeovers: number;
  readonly atMs: number;
  readonly contracts: string;
  readonly trying?: Commit["trying"];
}

/** Name and creation time of the stream behind each source. */
export type StreamNames = ReadonlyMap<InputSource, { readonly name: string; readonly createdAtMs: number }>;

/** Bytes that an effect costs in a commit beside its body. */
const EFFECT_OVERHEAD_BYTES = 200;
/** What a record may grow by in one commit, as the estimate has it. */
const RECORD_GROWTH_BYTES = 512;

/** One commit being built: what the steps since the last one have changed and caused. */
export class Draft {
  /** Each once: it is held as long as it is in here. */
  readonly changed: MemoryRecord[] = [];
  readonly messages: Addressed[] = [];
  readonly tasks: Task[] = [];
  readonly schedules: Schedule[] = [];
  readonly events: Event[] = [];
  readonly deadLetters: DeadLetter[] = [];
  readonly replies: PendingReply[] = [];
  readonly taken: Input[] = [];
  carry: readonly Entry[] = [];
  steps = 0;
  #bytes = 0;
  readonly #stepsMax: number;

  constructor(stepsMax: number = LIMITS.commitStepsMax) {
    this.#stepsMax = stepsMax;
  }

  /** True if there is nothing to commit but positions. */
  isEmpty(): boolean {
    return this.changed.length === 0 && this.deadLetters.length === 0;
  }

  /** True when the next step might not fit any more (J8). */
  isFull(): boolean {
    return (
      this.#bytes > LIMITS.commitBytesMax ||
      this.steps >= this.#stepsMax ||
      this.changed.length >= LIMITS.commitRecordsMax ||
      this.events.length >= LIMITS.commitEventsMax
    );
  }

  change(record: MemoryRecord): void {
    if (record.isHeld) return;
    record.isHeld = true;
    this.changed.push(record);
    this.#bytes += record.committed.length + RECORD_GROWTH_BYTES;
  }

  /** Adds what a step caused, all but its messages to this log. */
  add(effects: Effects): void {
    const { tasks, schedules, events, replies } = effects;
    for (const task of tasks) {
      this.tasks.push(task);
      this.#bytes += task.body.length + 2 * EFFECT_OVERHEAD_BYTES; // the record names it as well
    }
    for (const schedule of schedules) {
      this.schedules.push(schedule);
      this.#bytes += 2 * EFFECT_OVERHEAD_BYTES;
    }
    for (const event of events) {
      this.events.push(event);
      this.#bytes += event.json.length + EFFECT_OVERHEAD_BYTES;
    }
    for (const reply of replies) {
      this.replies.push(reply);
      this.#bytes += (reply.result.case === "reply" ? reply.result.value.length : 0) + EFFECT_OVERHEAD_BYTES;
    }
  }

  send(group: string, log: number, entry: Entry): void {
    this.messages.push(create(AddressedSchema, { group, log, entry }));
    this.#bytes += entry.body.length + EFFECT_OVERHEAD_BYTES;
  }

  deadLetter(letter: Omit<DeadLetter, "$typeName">): void {
    this.deadLetters.push(create(DeadLetterSchema, letter));
    this.#bytes += letter.raw.length + (letter.entry?.body.length ?? 0) + 2 * EFFECT_OVERHEAD_BYTES;
  }

  /** Says what has outgrown its bound, if anything has: a record, or the commit as it is encoded. */
  oversize(data: Uint8Array): string | undefined {
    for (const record of this.changed) {
      const { length } = record.bytes();
      if (length > LIMITS.recordBytesMax)
        return `the record ${record.name} has ${length} bytes, at most ${LIMITS.recordBytesMax} are stored`;
    }
    if (data.length > LIMITS.messageBytesMax - LIMITS.headerBytesMax)
      return `the commit has ${data.length} bytes`;
    return undefined;
  }

  /** The commit. Records are encoded within it, and keep their part of it as their bytes. */
  encode(head: CommitHead): Uint8Array {
    writer.clear();
    writer.fields(CommitSchema, create(CommitSchema, beforeRecords(head)));
    const ends: number[] = [];
    const lengths: number[] = [];
    for (const record of this.changed) {
      lengths.push(writeChange(record));
      ends.push(writer.length);
    }
    const { messages, carry, tasks, schedules, events, deadLetters } = this;
    const effects = { messages, carry: [...carry], tasks, schedules, events, deadLetters };
    writer.fields(CommitSchema, create(CommitSchema, { ...behindRecords(head), ...effects }));
    const data = writer.take();
    let at = 0;
    for (const record of this.changed) {
      const end = ends[at] ?? 0;
      record.keepBytes(data.subarray(end - (lengths[at] ?? 0), end));
      at++;
    }
    return data;
  }

  /** Headers that let other logs skip the commit unread. */
  headers(): Headers {
    const targets = new Set(this.messages.map(({ group, log }) => `${group}.${log}`));
    return targets.size === 0 ? {} : { [TO_HEADER]: [...targets].join(",") };
  }

  /** The commit is acked: what it changed is what readers see. */
  commit(sequence: number): void {
    for (const record of this.changed) {
      record.commit(sequence);
      record.isHeld = false;
    }
  }

  rollback(): void {
    for (const record of this.changed) {
      record.rollback();
      record.isHeld = false;
    }
  }
}

/** Names the logs that a commit has messages for. */
export const TO_HEADER = "Tw-To";

const writer = new MessageWriter();
const NO_BYTES = new Uint8Array(0);
/** Field 6 of `Commit` and field 4 of `RecordChange`, length-delimited. */
const CHANGE_TAG = 0x32;
const RECORD_TAG = 0x22;

/** @returns bytes of the record, the last of what was written */
function writeChange(record: MemoryRecord): number {
  const { kind, tenant, key } = record;
  const changeAt = writer.begin(CHANGE_TAG);
  const $typeName = RecordChangeSchema.typeName;
  writer.fields(RecordChangeSchema, { $typeName, kind, tenant, key, record: NO_BYTES });
  const recordAt = writer.begin(RECORD_TAG);
  record.write(writer);
  const length = writer.end(recordAt);
  if (length === 0) writer.drop(recordAt - 1); // the record is gone
  writer.end(changeAt);
  return length;
}

/** Encodes any message of a log that changes no record. */
export function encodeCommit(head: CommitHead, body: Partial<Omit<Commit, "$typeName">>): Uint8Array {
  return encode(
    CommitSchema,
    create(CommitSchema, { ...beforeRecords(head), ...behindRecords(head), ...body }),
  );
}

/** Fields below that of the records. */
function beforeRecords({ kind, id, epoch, owner, streams, ...head }: CommitHead) {
  const positions = [...head.positions].map(([source, { sequence, taken, whole }]) => {
    const stream = streams.get(source);
    assert(stream, `${source} has a stream`);
    const streamCreatedMs = BigInt(stream.createdAtMs);
    return create(PositionSchema, {
      stream: stream.name,
      sequence: BigInt(sequence),
      taken,
      whole,
      streamCreatedMs,
    });
  });
  return { kind, id, epoch, owner, positions };
}

/** Fields above that of the records. */
function behindRecords({ takeovers, atMs, contracts, trying }: CommitHead) {
  return { takeovers, atMs: BigInt(atMs), contracts, ...(trying && { trying }) };
}
