import { fromJson, type DescMessage, type JsonValue, type MessageShape } from "@bufbuild/protobuf";
import { DurationSchema, FieldMaskSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import {
  enumName,
  enumsWithin,
  isRecursive,
  jsonReaderSource,
  type JsonReader,
  type JsonReaderHelpers,
} from "./compile-json-reader.ts";
import { generate } from "./wire.ts";
import { asBuffer } from "./as-buffer.ts";

const readers = new WeakMap<DescMessage, JsonReader | null>();

/**
 * The same message as protobuf's own reader makes of JSON, several times as fast: code is generated for each schema.
 * @returns undefined where only that reader will do, or would refuse it: unknown fields, names as the proto spells
 * them, null, escapes in texts, names that come twice
 */
export function readJson<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> | undefined {
  let reader = readers.get(schema);
  if (reader === undefined) reader = compile(schema);
  if (reader === null) return undefined;
  const text = asBuffer(bytes).toString("utf8");
  // Only without escapes the quotes can be counted, and only bytes that are no text have this replacement.
  if (text.includes("\\") || text.includes("\ufffd")) return undefined;
  try {
    seen.texts = 0;
    const message = reader(JSON.parse(text)) as MessageShape<D>;
    // JSON.parse drops what a name stood for before it came again: then there are more texts than have been seen.
    return seen.texts * 2 === quotesIn(text) ? message : undefined;
  } catch {
    return undefined;
  }
}

function compile(schema: DescMessage): JsonReader | null {
  const enums = Object.fromEntries(
    enumsWithin(schema).map((desc) => [
      enumName(desc),
      new Map<unknown, number>(desc.values.map(({ jsonName, number }) => [jsonName, number])),
    ]),
  );
  const reader = isRecursive(schema)
    ? undefined
    : generate<JsonReader>(schema, ["j"], jsonReaderSource, { ...HELPERS, enums });
  readers.set(schema, reader ?? null);
  return reader ?? null;
}

function quotesIn(text: string): number {
  let count = 0;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at + 1)) count++;
  return count;
}

const LEFT = new Error("the message needs the general reader");

function leave(): never {
  throw LEFT;
}

const seen = { texts: 0 };
/** As JSON has 64-bit numbers, where a double holds them. */
const SMALL_INTEGER = /^-?\d{1,15}$/;
const SECONDS = /^\d{1,9}s$/;

function text(value: unknown): string {
  if (typeof value !== "string") leave();
  seen.texts++;
  return value;
}

function int64(value: unknown): bigint {
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  const digits = text(value);
  return SMALL_INTEGER.test(digits) ? BigInt(digits) : leave();
}

function wellKnown(schema: DescMessage): (value: unknown) => unknown {
  return (value) => fromJson(schema, text(value) as JsonValue);
}

const anyDuration = wellKnown(DurationSchema);

const HELPERS: Omit<JsonReaderHelpers, "enums"> = {
  seen,
  text,
  bool: (value) => (typeof value === "boolean" ? value : leave()),
  int32: (value) => (typeof value === "number" && value === (value | 0) ? value : leave()),
  uint32: (value) => (typeof value === "number" && value === value >>> 0 ? value : leave()),
  int64,
  uint64: (value) => {
    const number = int64(value);
    return number >= 0n ? number : leave();
  },
  double: (value) => (typeof value === "number" && Number.isFinite(value) ? value : leave()),
  enumOf: (numbers, value) => {
    if (typeof value === "number") return HELPERS.int32(value);
    return numbers.get(text(value)) ?? leave();
  },
  Timestamp: wellKnown(TimestampSchema),
  Duration: (value) => {
    if (typeof value !== "string" || !SECONDS.test(value)) return anyDuration(value);
    seen.texts++;
    return { $typeName: DurationSchema.typeName, seconds: BigInt(value.slice(0, -1)), nanos: 0 };
  },
  FieldMask: wellKnown(FieldMaskSchema),
  leave,
};
