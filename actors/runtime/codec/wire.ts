import { ScalarType, type DescField, type DescMessage } from "@bufbuild/protobuf";

/** Wire types of protobuf. */
export const VARINT = 0;
export const FIXED64 = 1;
export const DELIMITED = 2;

const IMPLICIT_PRESENCE = 2;

const halfBytes = new ArrayBuffer(8);
const halves = new Uint32Array(halfBytes);
/** Every platform of Node has the low half first but one; there it is the other way round. */
const [LOW, HIGH] = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? [0, 1] : [1, 0];

/** One number of 64 bits, as a bigint and as two halves. */
export const HALVES = Object.freeze({
  unsigned: new BigUint64Array(halfBytes),
  signed: new BigInt64Array(halfBytes),
  low: (): number => halves[LOW] ?? 0,
  high: (): number => halves[HIGH] ?? 0,
  set: (low: number, high: number): void => {
    halves[LOW] = low;
    halves[HIGH] = high;
  },
});

/** Fields of proto3 without `optional`: a default value is not written. */
export function isImplicit(field: DescField): boolean {
  return field.presence === IMPLICIT_PRESENCE;
}

/** False for what protobuf-es keeps in another form than it has on the wire: wrappers, structs, groups, long texts. */
export function isPlain(field: DescField): boolean {
  const isWrapped =
    field.message?.file.proto.package === "google.protobuf" && !PLAIN_TYPES.has(field.message.name);
  const isGroup = "delimitedEncoding" in field && field.delimitedEncoding;
  const isLongText = "longAsString" in field && field.longAsString;
  return !isWrapped && !isGroup && !isLongText;
}

/** Well-known types that are messages like any other. */
const PLAIN_TYPES: ReadonlySet<string> = new Set(["Timestamp", "Duration", "Empty", "FieldMask"]);

/** What stands for a field that is not there unless it is given. */
export const ABSENT = "";

const ZEROS: ReadonlyMap<ScalarType, string> = new Map([
  [ScalarType.STRING, '""'],
  [ScalarType.BYTES, "none"],
  [ScalarType.BOOL, "false"],
  [ScalarType.INT32, "0"],
  [ScalarType.UINT32, "0"],
  [ScalarType.INT64, "0n"],
  [ScalarType.UINT64, "0n"],
  [ScalarType.DOUBLE, "0"],
]);

/** Source of what a field holds that was not given; undefined for types that we do not use. */
export function zeroSource(field: DescField): string | undefined {
  if (field.fieldKind === "list") return "[]";
  if (field.fieldKind === "map") return "{}";
  if (!isImplicit(field)) return ABSENT;
  return field.scalar === undefined ? "0" : ZEROS.get(field.scalar);
}

/** Name of a message's function in generated code. */
export function methodName({ typeName }: DescMessage): string {
  return typeName.replaceAll(".", "_");
}

/** Every message that a message may hold, itself included. */
export function messagesWithin(
  schema: DescMessage,
  found = new Set<DescMessage>(),
): ReadonlySet<DescMessage> {
  if (found.has(schema)) return found;
  found.add(schema);
  for (const { message } of schema.fields) if (message !== undefined) messagesWithin(message, found);
  return found;
}

/** Makes one function for each message within `schema` from its source; undefined if one of them has none. */
export function generate<F>(
  schema: DescMessage,
  parameters: readonly string[],
  sourceOf: (message: DescMessage) => string | undefined,
  helpers: object,
): F | undefined {
  const functions: string[] = [];
  for (const message of messagesWithin(schema)) {
    const body = sourceOf(message);
    if (body === undefined) return undefined;
    functions.push(`function ${methodName(message)}(${parameters.join(", ")}) {\n${body}\n}`);
  }
  const names = Object.keys(helpers).filter((name) => name !== "at");
  // No bytes cannot be changed: all fields without any share them.
  const head = `"use strict"; const none = new Uint8Array(0); const { ${names.join(", ")} } = h;`;
  const source = `${head}\n${functions.join("\n")}\nreturn ${methodName(schema)};`;
  // Names and numbers of our own descriptors are all that is in the source.
  // oxlint-disable-next-line typescript/no-implied-eval -- what it is for
  return new Function("h", source)(helpers) as F;
}
