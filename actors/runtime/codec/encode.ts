import { toBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { BytesPool } from "./bytes-pool.ts";
import { encoderSource, type Encoder, type EncoderHelpers } from "./compile-encoder.ts";
import { generate, HALVES } from "./wire.ts";

/** Texts up to this length are copied by a loop: a native call costs more, and less than a longer loop. */
const LOOP_LENGTH_MAX = 12;
/** UTF-8 of one unit of a text, and the bytes whose number takes one byte. */
const UNIT_BYTES_MAX = 3;
const SHORT_BYTES_MAX = 127;
const INITIAL_BYTES = 65_536;

const encoders = new WeakMap<DescMessage, Encoder | null>();
let buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
/** What is encoded is on its way somewhere: it lives for moments. */
const pool = new BytesPool();

/**
 * The same bytes as protobuf's own encoder, many times as fast: code is generated for each schema, and one buffer
 * serves all. This runs several times for each message, record and commit. Messages with features that we do not use,
 * or with unknown fields, go the general way.
 */
export function encode<D extends DescMessage>(schema: D, message: MessageShape<D>): Uint8Array {
  for (;;) {
    const end = encodeAt(schema, message, buffer, 0);
    if (end === UNKNOWN) return toBinary(schema, message);
    if (end <= buffer.length) return pool.copy(buffer, end);
    buffer = Buffer.allocUnsafeSlow(Math.max(buffer.length * 2, end));
  }
}

/** Stands for a message that only the general encoder can write. */
export const UNKNOWN = -1;

/** Writes from `at` on. @returns where the message ends, also where that is past the end of the buffer, or UNKNOWN */
export function encodeAt(schema: DescMessage, message: object, bytes: Buffer, at: number): number {
  let encoder = encoders.get(schema);
  if (encoder === undefined) encoder = compile(schema);
  if (encoder === null) return UNKNOWN;
  try {
    return encoder(bytes, at, message as never);
  } catch (error) {
    if (error === HAS_UNKNOWN) return UNKNOWN;
    if (error === TOO_SMALL) return bytes.length + 1;
    throw error;
  }
}

/** Thrown to leave a message with unknown fields to the general encoder. */
const HAS_UNKNOWN = new Error("the message has unknown fields");
/** Thrown where something does not fit the buffer as a whole. */
const TOO_SMALL = new Error("the buffer is too small");

function compile(schema: DescMessage): Encoder | null {
  const encoder = generate<Encoder>(schema, ["b", "at", "m"], encoderSource, HELPERS) ?? null;
  encoders.set(schema, encoder);
  return encoder;
}

function varint(bytes: Buffer, start: number, value: number): number {
  let at = start;
  let rest = value;
  for (; rest > 0x7fff_ffff; rest = Math.floor(rest / 128)) bytes[at++] = (rest % 128) | 128;
  for (; rest > 127; rest >>>= 7) bytes[at++] = (rest & 127) | 128;
  bytes[at++] = rest;
  return at;
}

/** 64 bits: arithmetic of bigints is slow, that of their halves is not. */
function big(bytes: Buffer, start: number, value: bigint): number {
  HALVES.unsigned[0] = value;
  let low = HALVES.low();
  let high = HALVES.high();
  let at = start;
  for (; high > 0; high >>>= 7) {
    bytes[at++] = (low & 127) | 128;
    low = ((low >>> 7) | (high << 25)) >>> 0;
  }
  for (; low > 127; low >>>= 7) bytes[at++] = (low & 127) | 128;
  bytes[at++] = low;
  return at;
}

function longText(bytes: Buffer, start: number, value: string): number {
  const bytesMax = value.length * UNIT_BYTES_MAX;
  if (bytesMax <= SHORT_BYTES_MAX) {
    if (start + 1 + bytesMax > bytes.length) throw TOO_SMALL;
    const written = bytes.write(value, start + 1, bytesMax, "utf8");
    bytes[start] = written;
    return start + 1 + written;
  }
  const length = Buffer.byteLength(value, "utf8");
  const at = varint(bytes, start, length);
  if (at + length > bytes.length) throw TOO_SMALL;
  bytes.write(value, at, "utf8");
  return at + length;
}

const HELPERS: EncoderHelpers = {
  varint,
  big,
  /** int32 and enum: negative numbers take ten bytes. */
  signed: (bytes, at, value) => (value >= 0 ? varint(bytes, at, value) : big(bytes, at, BigInt(value))),
  text: (bytes, start, value) => {
    const { length } = value;
    if (length > LOOP_LENGTH_MAX) return longText(bytes, start, value);
    const at = start + 1;
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code > 127) return longText(bytes, start, value);
      bytes[at + i] = code;
    }
    bytes[start] = length;
    return at + length;
  },
  data: (bytes, start, value) => {
    const at = varint(bytes, start, value.length);
    if (at + value.length > bytes.length) throw TOO_SMALL;
    bytes.set(value, at);
    return at + value.length;
  },
  double: (bytes, at, value) => {
    if (at + 8 > bytes.length) throw TOO_SMALL;
    return bytes.writeDoubleLE(value, at);
  },
  close: (bytes, lengthAt, end) => {
    const startsAt = lengthAt + 1;
    const length = end - startsAt;
    if (length < 128) {
      bytes[lengthAt] = length;
      return end;
    }
    if (end + 4 > bytes.length) throw TOO_SMALL;
    let more = 1;
    for (let rest = length >>> 7; rest > 127; rest >>>= 7) more++;
    bytes.copyWithin(startsAt + more, startsAt, end);
    varint(bytes, lengthAt, length);
    return end + more;
  },
  unknown: () => {
    throw HAS_UNKNOWN;
  },
};
