import { toJson, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { DurationSchema, FieldMaskSchema, type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { enumName, enumsWithin, isRecursive } from "./compile-json-reader.ts";
import {
  jsonWriterSource,
  type JsonForm,
  type JsonWriter,
  type JsonWriterHelpers,
} from "./compile-json-writer.ts";
import { generate } from "./wire.ts";

const writers = new WeakMap<JsonForm, WeakMap<DescMessage, JsonWriter | null>>();

/**
 * The same JSON as protobuf's own writer makes and `JSON.stringify` writes, several times as fast: code is generated
 * for each schema and form, so forms are to be constants.
 * @returns undefined where only that writer will do, or would refuse it
 */
export function writeJson<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
  form: JsonForm,
): string | undefined {
  let ofForm = writers.get(form);
  if (ofForm === undefined) {
    ofForm = new WeakMap();
    writers.set(form, ofForm);
  }
  let writer = ofForm.get(schema);
  if (writer === undefined) {
    writer = compile(schema, form);
    ofForm.set(schema, writer);
  }
  if (writer === null) return undefined;
  try {
    return writer(message as never);
  } catch {
    return undefined;
  }
}

function compile(schema: DescMessage, { kind, without }: JsonForm): JsonWriter | null {
  if (isRecursive(schema)) return null;
  const enums = Object.fromEntries(
    enumsWithin(schema).map((desc) => {
      const names: (string | undefined)[] = [];
      for (const { number, jsonName } of desc.values) names[number] = JSON.stringify(jsonName);
      return [enumName(desc), names];
    }),
  );
  const source = (message: DescMessage) => jsonWriterSource(message, kind, message === schema ? without : []);
  return generate<JsonWriter>(schema, ["m"], source, { ...HELPERS, enums }) ?? null;
}

const LEFT = new Error("the message needs the general writer");

function leave(): never {
  throw LEFT;
}

/** What JSON has to escape; surrogates may stand alone. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const SPECIAL = /["\\\u0000-\u001f\ud800-\udfff]/;

function wellKnown<D extends DescMessage>(schema: D): (value: unknown) => string {
  return (value) => JSON.stringify(toJson(schema, value as MessageShape<D>));
}

const anyTimestamp = wellKnown(TimestampSchema);
/** Second of the last time that was written, and its text: the times of one message are close together. */
let lastSeconds: bigint | undefined;
let lastText = "";
const NANOS_PER_MS = 1_000_000;

const HELPERS: Omit<JsonWriterHelpers, "enums"> = {
  text: (value) => {
    if (typeof value !== "string") leave();
    return SPECIAL.test(value) ? JSON.stringify(value) : `"${value}"`;
  },
  bool: (value) => (typeof value === "boolean" ? String(value) : leave()),
  number: (value) => (Number.isFinite(value) ? String(value as number) : leave()),
  big: (value) => (typeof value === "bigint" ? `"${value}"` : leave()),
  data: (value) => (value instanceof Uint8Array ? `"${Buffer.from(value).toString("base64")}"` : leave()),
  Timestamp: (value) => {
    const { seconds, nanos } = value as Timestamp;
    if (!(nanos >= 0 && nanos < 1_000 * NANOS_PER_MS && nanos % NANOS_PER_MS === 0))
      return anyTimestamp(value);
    if (seconds !== lastSeconds) {
      lastText = anyTimestamp({ $typeName: TimestampSchema.typeName, seconds, nanos: 0 }).slice(0, -2);
      lastSeconds = seconds;
    }
    return nanos === 0 ? `${lastText}Z"` : `${lastText}.${String(1_000 + nanos / NANOS_PER_MS).slice(1)}Z"`;
  },
  Duration: wellKnown(DurationSchema),
  FieldMask: wellKnown(FieldMaskSchema),
  leave,
};
