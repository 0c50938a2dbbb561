import {
  fromJson,
  toJsonString,
  type DescEnum,
  type DescMessage,
  type JsonValue,
  type MessageShape,
} from "@bufbuild/protobuf";
import { enumsWithin, jsonReaderSource, jsonWriterSource, type JsonHelpers } from "./compile-json.ts";
import { generate, HALVES } from "./wire.ts";

type Writer = (message: object) => string;
type Reader = (json: unknown) => object;

const writers = new WeakMap<DescMessage, Writer | null>();
const readers = new WeakMap<DescMessage, Reader | null>();

/** The same text as protobuf's own `toJsonString` makes, by code generated for the schema. */
export function encodeJson<D extends DescMessage>(schema: D, message: MessageShape<D>): string {
  let writer = writers.get(schema);
  if (writer === undefined) {
    writer = generate<Writer>(schema, ["m"], jsonWriterSource, helpersFor(schema)) ?? null;
    writers.set(schema, writer);
  }
  if (writer === null) return toJsonString(schema, message);
  try {
    return writer(message);
  } catch (error) {
    if (error === UNUSUAL) return toJsonString(schema, message);
    throw error;
  }
}

/**
 * The same message as protobuf's own `fromJson` makes, by code generated for the schema; unknown fields are dropped.
 * @throws Error for a text that is no such message
 */
export function decodeJson<D extends DescMessage>(schema: D, text: string): MessageShape<D> {
  let reader = readers.get(schema);
  if (reader === undefined) {
    reader = generate<Reader>(schema, ["m"], jsonReaderSource, helpersFor(schema)) ?? null;
    readers.set(schema, reader);
  }
  const json = JSON.parse(text) as JsonValue;
  if (reader === null) return fromJson(schema, json, { ignoreUnknownFields: true });
  try {
    return reader(json) as MessageShape<D>;
  } catch (error) {
    if (error === UNUSUAL) return fromJson(schema, json, { ignoreUnknownFields: true });
    throw error;
  }
}

/** Thrown to leave a message to protobuf's own code. */
const UNUSUAL = new Error("the message needs the general code");

function leave(): never {
  throw UNUSUAL;
}

/** Texts that stand in JSON as they are. */
const PLAIN_TEXT = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;
/** Digits that a double holds exactly. */
const DIGITS_MAX = 15;
const TWO_32 = 0x1_0000_0000;

/** Usual numbers digit by digit: `BigInt` of a text is slow. */
function int64(value: unknown): bigint {
  if (typeof value !== "string" || value.length === 0 || value.length > DIGITS_MAX) return leave();
  let number = 0;
  for (let at = 0; at < value.length; at++) {
    const digit = value.charCodeAt(at) - 48;
    if (!(digit >= 0 && digit <= 9)) return leave();
    number = number * 10 + digit;
  }
  HALVES.set(number % TWO_32, Math.floor(number / TWO_32));
  return HALVES.signed[0] ?? 0n;
}

function helpersFor(schema: DescMessage): JsonHelpers {
  const enums = enumsWithin(schema);
  const tables = <T>(table: (type: DescEnum) => T) =>
    Object.fromEntries(enums.map((type) => [type.typeName, table(type)]));
  const table = <T>(pairs: [string | number, T][]): Record<string | number, T> =>
    Object.assign(Object.create(null), Object.fromEntries(pairs)) as Record<string | number, T>;
  return {
    names: tables(({ values }) => table(values.map(({ name, number }) => [number, name]))),
    numbers: tables(({ values }) => table(values.map(({ name, number }) => [name, number]))),
    quoted: (value) => {
      if (typeof value !== "string") return leave();
      return PLAIN_TEXT.test(value) ? `"${value}"` : JSON.stringify(value);
    },
    text: (value) => (typeof value === "string" && value.isWellFormed() ? value : leave()),
    int64,
    leave,
  };
}
