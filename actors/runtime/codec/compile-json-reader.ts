import { ScalarType, type DescEnum, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { ABSENT, isPlain, messagesWithin, methodName, zeroSource } from "./wire.ts";

/** Makes a message of what `JSON.parse` gives; calls `leave` where only protobuf's own reader will do. */
export type JsonReader = (json: unknown) => unknown;

/** Functions that generated code calls by these names. */
export interface JsonReaderHelpers {
  /** Texts and names so far. */
  readonly seen: { texts: number };
  /** Numbers by name of each enum that occurs, under the name of its function. */
  readonly enums: Readonly<Record<string, ReadonlyMap<unknown, number>>>;
  text(value: unknown): string;
  bool(value: unknown): boolean;
  int32(value: unknown): number;
  uint32(value: unknown): number;
  int64(value: unknown): bigint;
  uint64(value: unknown): bigint;
  double(value: unknown): number;
  enumOf(numbers: ReadonlyMap<unknown, number>, value: unknown): number;
  /** Messages that JSON has as texts, by the last part of their names. */
  Timestamp(value: unknown): unknown;
  Duration(value: unknown): unknown;
  FieldMask(value: unknown): unknown;
  /** Leaves the message to protobuf's own reader. */
  leave(): never;
}

const SCALARS: ReadonlyMap<ScalarType, string> = new Map([
  [ScalarType.STRING, "text"],
  [ScalarType.BOOL, "bool"],
  [ScalarType.INT32, "int32"],
  [ScalarType.UINT32, "uint32"],
  [ScalarType.INT64, "int64"],
  [ScalarType.UINT64, "uint64"],
  [ScalarType.DOUBLE, "double"],
]);

const TEXT_MESSAGES: ReadonlySet<string> = new Set(
  ["Timestamp", "Duration", "FieldMask"].map((name) => `google.protobuf.${name}`),
);

/** True for messages that are one text in JSON. */
export function isTextInJson({ typeName }: DescMessage): boolean {
  return TEXT_MESSAGES.has(typeName);
}

/** Name of an enum's table in generated code. */
export function enumName({ typeName }: DescEnum): string {
  return typeName.replaceAll(".", "_");
}

/** Every enum that a message may hold. */
export function enumsWithin(schema: DescMessage): readonly DescEnum[] {
  const fields = [...messagesWithin(schema)].flatMap((message) => message.fields);
  return [...new Set(fields.flatMap((field) => (field.enum === undefined ? [] : [field.enum])))];
}

/** True if a message may hold another of its own type: its depth has no bound. */
export function isRecursive(schema: DescMessage): boolean {
  return [...messagesWithin(schema)].some((within) =>
    within.fields.some(({ message }) => message !== undefined && messagesWithin(message).has(within)),
  );
}

/**
 * Source of the body of a reader: a function of `j` that may call the helpers and the readers of other messages.
 * Undefined if the message has features that we do not use.
 */
export function jsonReaderSource(schema: DescMessage): string | undefined {
  if (isTextInJson(schema)) return `return ${schema.name}(j);`;
  const zeros = [`$typeName: "${schema.typeName}"`];
  const cases: string[] = [];
  for (const field of schema.fields) {
    const zero = isPlain(field) ? zeroSource(field) : undefined;
    const read = zero === undefined ? undefined : fieldSource(field);
    if (zero === undefined || read === undefined) return undefined;
    if (zero !== ABSENT && field.oneof === undefined) zeros.push(`${field.localName}: ${zero}`);
    cases.push(`case ${JSON.stringify(field.jsonName)}: { ${read} break; }`);
  }
  zeros.push(...schema.oneofs.map(({ localName }) => `${localName}: { case: undefined }`));
  return [
    `if (typeof j !== "object" || j === null || Array.isArray(j)) leave();`,
    `const m = { ${zeros.join(", ")} };`,
    "for (const k in j) {",
    "const v = j[k]; seen.texts++;",
    `switch (k) {\n${cases.join("\n")}\ndefault: leave();\n}`,
    "}",
    "return m;",
  ].join("\n");
}

function fieldSource(field: DescField): string | undefined {
  const { localName, oneof } = field;
  if (field.fieldKind === "list") {
    const item = valueSource(field, "v[i]");
    return (
      item &&
      `if (!Array.isArray(v)) leave(); for (let i = 0; i < v.length; i++) m.${localName}.push(${item});`
    );
  }
  if (field.fieldKind === "map") {
    const value = field.mapKey === ScalarType.STRING ? valueSource(field, "v[n]") : undefined;
    if (value === undefined) return undefined;
    const isObject = `if (typeof v !== "object" || v === null || Array.isArray(v)) leave();`;
    const entry = `if (n === "__proto__") leave(); seen.texts++; m.${localName}[n] = ${value};`;
    return `${isObject} for (const n in v) { ${entry} }`;
  }
  const value = valueSource(field, "v");
  if (value === undefined) return undefined;
  if (oneof === undefined) return `m.${localName} = ${value};`;
  const isFirst = `if (m.${oneof.localName}.case !== undefined) leave();`;
  return `${isFirst} m.${oneof.localName} = { case: "${localName}", value: ${value} };`;
}

function valueSource(
  field: {
    readonly scalar?: ScalarType | undefined;
    readonly enum?: DescEnum | undefined;
    readonly message?: DescMessage | undefined;
  },
  value: string,
): string | undefined {
  if (field.message !== undefined) return `${methodName(field.message)}(${value})`;
  if (field.enum !== undefined)
    return field.enum.open ? `enumOf(enums.${enumName(field.enum)}, ${value})` : undefined;
  const read = field.scalar === undefined ? undefined : SCALARS.get(field.scalar);
  return read && `${read}(${value})`;
}
