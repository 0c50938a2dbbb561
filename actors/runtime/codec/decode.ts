import { fromBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { decoderSource, type Decoder, type DecoderHelpers } from "./compile-decoder.ts";
import { generate, HALVES } from "./wire.ts";
import { asBuffer } from "./as-buffer.ts";
import { KNOWN_LENGTH_MAX, knownText } from "./known-texts.ts";

const REPLACEMENT = "\ufffd";

const decoders = new WeakMap<DescMessage, Decoder | null>();

/**
 * The same message as protobuf's own reader makes, several times as fast: code is generated for each schema. Bytes of
 * fields are views of the input, as there. Whatever is unusual (unknown fields, a message that comes in parts, broken
 * bytes) goes the general way.
 * @throws what `fromBinary` throws for bytes that are no such message
 */
export function decode<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  let decoder = decoders.get(schema);
  if (decoder === undefined) decoder = compile(schema);
  if (decoder === null) return fromBinary(schema, bytes);
  const buffer = asBuffer(bytes);
  try {
    return decoder(buffer, 0, buffer.length) as MessageShape<D>;
  } catch (error) {
    if (error === UNUSUAL) return fromBinary(schema, bytes);
    throw error;
  }
}

/** Thrown to leave a message to the general reader. */
const UNUSUAL = new Error("the message needs the general reader");

function leave(): never {
  throw UNUSUAL;
}

function compile(schema: DescMessage): Decoder | null {
  const decoder = generate<Decoder>(schema, ["b", "at", "end"], decoderSource, HELPERS) ?? null;
  decoders.set(schema, decoder);
  return decoder;
}

/** Numbers up to 2^32; longer ones are left, as are those that the bytes end in. */
function varint(bytes: Buffer, start: number): number {
  let at = start;
  let value = 0;
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = bytes[at++] ?? leave();
    value |= (byte & 127) << shift;
    if (byte < 128) {
      HELPERS.at = at;
      return value;
    }
  }
  const last = bytes[at++] ?? leave();
  if (last > 15) leave();
  HELPERS.at = at;
  return value + last * 0x1000_0000;
}

/** 64 bits into their halves, since arithmetic of bigints is slow. */
function halves(bytes: Buffer, start: number): void {
  let at = start;
  let low = 0;
  let high = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++] ?? leave();
    if (shift < 32) low |= (byte & 127) << shift;
    if (shift === 28) high = (byte & 127) >>> 4;
    else if (shift > 28) high |= (byte & 127) << (shift - 32);
    if (byte < 128) break;
    if (shift === 63) leave();
  }
  HELPERS.at = at;
  HALVES.set(low, high);
}

function uint64(bytes: Buffer, start: number): bigint {
  halves(bytes, start);
  return HALVES.unsigned[0] ?? 0n;
}

function int64(bytes: Buffer, start: number): bigint {
  halves(bytes, start);
  return HALVES.signed[0] ?? 0n;
}

const HELPERS: DecoderHelpers = {
  at: 0,
  varint,
  uint64,
  int64,
  signed: (bytes, at) => {
    const first = bytes[at] ?? leave();
    if (first < 128) {
      HELPERS.at = at + 1;
      return first;
    }
    halves(bytes, at);
    return HALVES.low() | 0;
  },
  text: (bytes, at, end) => {
    const known = end - at <= KNOWN_LENGTH_MAX ? knownText(bytes, at, end) : undefined;
    if (known !== undefined) return known;
    const text = bytes.toString("utf8", at, end);
    return text.includes(REPLACEMENT) ? leave() : text;
  },
  data: (bytes, at, end) => new Uint8Array(bytes.buffer, bytes.byteOffset + at, end - at),
  double: (bytes, at) => (at + 8 > bytes.length ? leave() : bytes.readDoubleLE(at)),
  leave,
};
