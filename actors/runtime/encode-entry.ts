import { toBinary } from "@bufbuild/protobuf";
import { type Entry, EntrySchema } from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";

/** Entries that may be larger go the general way. */
const SCRATCH_BYTES = 65_536;
/** Bytes that one UTF-16 unit takes at most. */
const BYTES_PER_UNIT_MAX = 3;
/** Texts up to this length are copied by a loop: a native call costs more. */
const LOOP_LENGTH_MAX = 40;
const VARINT_BYTES_MAX = 10;

/** Writes protobuf fields one after another; empty values are left out, as proto3 wants it. */
class FieldWriter {
  readonly #bytes = Buffer.allocUnsafe(SCRATCH_BYTES);
  #at = 0;

  start(): void {
    this.#at = 0;
  }

  /** A copy of what was written since `start`. */
  end(): Uint8Array {
    return new Uint8Array(this.#bytes.subarray(0, this.#at));
  }

  string(tag: number, text: string): void {
    if (text.length === 0) return;
    this.#bytes[this.#at++] = tag;
    if (text.length <= LOOP_LENGTH_MAX && this.#ascii(text)) return;
    this.#varint(Buffer.byteLength(text, "utf8"));
    this.#at += this.#bytes.write(text, this.#at, "utf8");
  }

  bytes(tag: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#bytes[this.#at++] = tag;
    this.#varint(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Unsigned. */
  number(tag: number, value: number): void {
    if (value === 0) return;
    this.#bytes[this.#at++] = tag;
    this.#varint(value);
  }

  /** A message: `write` writes its fields; it is there even if it has none. */
  message<T>(tag: number, value: T, write: (writer: FieldWriter, value: T) => void): void {
    this.#bytes[this.#at++] = tag;
    const lengthAt = this.#at++;
    const startsAt = this.#at;
    write(this, value);
    const length = this.#at - startsAt;
    if (length > 127) this.#bytes.copyWithin(startsAt + varintBytes(length) - 1, startsAt, this.#at);
    this.#at = lengthAt;
    this.#varint(length);
    this.#at += length;
  }

  #varint(value: number): void {
    let rest = value;
    for (; rest > 127; rest = Math.floor(rest / 128)) this.#bytes[this.#at++] = (rest & 127) | 128;
    this.#bytes[this.#at++] = rest;
  }

  /** False, and nothing is written, if the text has other characters. */
  #ascii(text: string): boolean {
    const startsAt = this.#at + 1;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) return false;
      this.#bytes[startsAt + i] = code;
    }
    this.#bytes[this.#at] = text.length;
    this.#at = startsAt + text.length;
    return true;
  }
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 127; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

const writer = new FieldWriter();

/**
 * The bytes of an entry that a client or a task worker sends: a command or an outcome. What is rare goes the general
 * way. Four times as fast as the general encoder, and this runs once for each command.
 */
export function encodeEntry(entry: Entry): Uint8Array {
  const { source, redrive, depth, atMs, fresh, origin } = entry;
  const isPlain = redrive === undefined && depth === 0 && atMs === 0n && !fresh && origin === "";
  if (!isPlain || entry.$unknown !== undefined || bytesMax(entry) > SCRATCH_BYTES)
    return toBinary(EntrySchema, entry);
  if (source.case !== "request" && source.case !== "outcome") return toBinary(EntrySchema, entry);
  writer.start();
  writer.string(0x0a, entry.kind);
  writer.string(0x12, entry.tenant);
  writer.string(0x1a, entry.key);
  writer.string(0x22, entry.method);
  writer.bytes(0x2a, entry.body);
  if (source.case === "request") {
    writer.message(0x32, source.value, (request, { id, fingerprint, replyTo, correlation }) => {
      request.string(0x0a, id);
      request.bytes(0x12, fingerprint);
      request.string(0x1a, replyTo);
      request.number(0x20, Number(correlation));
    });
  } else {
    writer.message(0x42, source.value, (outcome, { task, status, attempts, error }) => {
      outcome.string(0x0a, task);
      outcome.number(0x10, status);
      outcome.number(0x18, attempts);
      outcome.string(0x22, error);
    });
  }
  writer.string(0x52, entry.trace);
  return writer.end();
}

function bytesMax({ kind, tenant, key, method, body, source, trace }: Entry): number {
  let units = kind.length + tenant.length + key.length + method.length + trace.length;
  let bytes = body.length;
  if (source.case === "request") {
    units += source.value.id.length + source.value.replyTo.length;
    bytes += source.value.fingerprint.length;
  }
  if (source.case === "outcome") units += source.value.task.length + source.value.error.length;
  return bytes + units * BYTES_PER_UNIT_MAX + Object.keys(EntrySchema.field).length * 2 * VARINT_BYTES_MAX;
}
