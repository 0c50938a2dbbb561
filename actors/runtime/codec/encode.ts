import {
  ScalarType,
  toBinary,
  type DescField,
  type DescMessage,
  type Message,
  type MessageShape,
} from "@bufbuild/protobuf";
import { FieldWriter } from "./field-writer.ts";

/** Writes one field of a message, if it is set. */
type WriteField = (writer: FieldWriter, fields: Fields) => void;
/** Writes one value without its tag. */
type WriteValue = (writer: FieldWriter, value: never) => void;
type Fields = Readonly<Record<string, unknown>>;

const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;

const compiled = new WeakMap<DescMessage, readonly WriteField[] | null>();
const writer = new FieldWriter();

/**
 * The same bytes as protobuf's own encoder, three to four times as fast: one buffer for all, no allocation but the
 * result. This runs several times for each message, record and commit. Messages with features that we do not use
 * (groups, fixed numbers, unknown fields) go the general way.
 */
export function encode<D extends DescMessage>(schema: D, message: MessageShape<D>): Uint8Array {
  const fields = compile(schema);
  if (fields === undefined) return toBinary(schema, message);
  writer.start();
  try {
    writeAll(fields, message);
  } catch (error) {
    if (error === HAS_UNKNOWN) return toBinary(schema, message);
    throw error;
  }
  return writer.end();
}

/** Thrown to leave a message with unknown fields to the general encoder. */
const HAS_UNKNOWN = new Error("the message has unknown fields");

function writeAll(fields: readonly WriteField[], message: Message): void {
  if (message.$unknown !== undefined && message.$unknown.length > 0) throw HAS_UNKNOWN;
  for (const write of fields) write(writer, message as unknown as Fields);
}

function compile(schema: DescMessage): readonly WriteField[] | undefined {
  const known = compiled.get(schema);
  if (known !== undefined) return known ?? undefined;
  const fields: WriteField[] = [];
  compiled.set(schema, fields); // before its fields: messages may hold themselves
  for (const field of schema.fields.toSorted((a, b) => a.number - b.number)) {
    const write = compileField(field);
    if (write === undefined) {
      compiled.set(schema, null);
      return undefined;
    }
    fields.push(write);
  }
  return fields;
}

function compileField(field: DescField): WriteField | undefined {
  if (field.fieldKind === "list") return compileList(field);
  if (field.fieldKind === "map") return compileMap(field);
  const value = valueOf(field);
  if (value === undefined) return undefined;
  const { write, wireType, isDefault } = value;
  const tag = (field.number << 3) | wireType;
  const { localName, oneof, presence } = field;
  if (oneof !== undefined) {
    const group = oneof.localName;
    return (out, fields) => {
      const chosen = fields[group] as { case?: string; value?: never };
      if (chosen.case !== localName) return;
      out.tag(tag);
      write(out, chosen.value as never);
    };
  }
  const isExplicit = presence !== IMPLICIT;
  return (out, fields) => {
    const current = fields[localName];
    if (current === undefined || (!isExplicit && isDefault(current))) return;
    out.tag(tag);
    write(out, current as never);
  };
}

/** Fields of proto3 without `optional`: a default value is not written. */
const IMPLICIT = 2;

interface Value {
  readonly write: WriteValue;
  readonly wireType: number;
  readonly isDefault: (value: unknown) => boolean;
}

function valueOf(field: {
  readonly scalar?: ScalarType | undefined;
  readonly enum?: unknown;
  readonly message?: DescMessage | undefined;
}): Value | undefined {
  if (field.message !== undefined) return messageValue(field.message);
  if (field.enum !== undefined) return SIGNED;
  return field.scalar === undefined ? undefined : SCALARS.get(field.scalar);
}

function messageValue(schema: DescMessage): Value | undefined {
  const fields = compile(schema);
  if (fields === undefined) return undefined;
  const write = (out: FieldWriter, message: Message) => {
    const lengthAt = out.open();
    writeAll(fields, message);
    out.close(lengthAt);
  };
  return { write: write as unknown as WriteValue, wireType: DELIMITED, isDefault: () => false };
}

const isZero = (value: unknown) => value === 0;
const isZeroBig = (value: unknown) => value === 0n;
const isEmpty = (value: unknown) => (value as { length: number }).length === 0;

function scalar<T>(
  wireType: number,
  write: (out: FieldWriter, value: T) => void,
  isDefault: Value["isDefault"],
): Value {
  return { wireType, write: write as unknown as WriteValue, isDefault };
}

const SIGNED = scalar<number>(VARINT, (out, value) => out.signed(value), isZero);
const BIG = scalar<bigint>(VARINT, (out, value) => out.bigint(value), isZeroBig);

const SCALARS: ReadonlyMap<ScalarType, Value> = new Map([
  [ScalarType.STRING, scalar<string>(DELIMITED, (out, value) => out.string(value), isEmpty)],
  [ScalarType.BYTES, scalar<Uint8Array>(DELIMITED, (out, value) => out.bytes(value), isEmpty)],
  [
    ScalarType.BOOL,
    scalar<boolean>(
      VARINT,
      (out, value) => out.bool(value),
      (value) => value === false,
    ),
  ],
  [ScalarType.INT32, SIGNED],
  [ScalarType.UINT32, scalar<number>(VARINT, (out, value) => out.unsigned(value), isZero)],
  [ScalarType.INT64, BIG],
  [ScalarType.UINT64, BIG],
  [
    ScalarType.DOUBLE,
    scalar<number>(
      FIXED64,
      (out, value) => out.double(value),
      (value) => Object.is(value, 0),
    ),
  ],
]);

function compileList(field: DescField & { fieldKind: "list" }): WriteField | undefined {
  const value = valueOf(field);
  if (value === undefined) return undefined;
  const { write, wireType } = value;
  const { localName, number } = field;
  const isPacked = wireType !== DELIMITED && field.packed;
  const tag = (number << 3) | (isPacked ? DELIMITED : wireType);
  return (out, fields) => {
    const list = fields[localName] as readonly never[];
    if (list.length === 0) return;
    if (!isPacked) {
      for (const item of list) {
        out.tag(tag);
        write(out, item);
      }
      return;
    }
    out.tag(tag);
    const lengthAt = out.open();
    for (const item of list) write(out, item);
    out.close(lengthAt);
  };
}

function compileMap(field: DescField & { fieldKind: "map" }): WriteField | undefined {
  const key = SCALARS.get(field.mapKey);
  const value = valueOf(field);
  if (key === undefined || value === undefined || field.mapKey !== ScalarType.STRING) return undefined;
  const tag = (field.number << 3) | DELIMITED;
  const keyTag = (1 << 3) | key.wireType;
  const valueTag = (2 << 3) | value.wireType;
  return (out, fields) => {
    for (const [name, item] of Object.entries(fields[field.localName] as Fields)) {
      out.tag(tag);
      const lengthAt = out.open();
      out.tag(keyTag);
      key.write(out, name as never);
      out.tag(valueTag);
      value.write(out, item as never);
      out.close(lengthAt);
    }
  };
}
