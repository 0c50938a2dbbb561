import { ScalarType, type DescEnum, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { enumName, isTextInJson } from "./compile-json-reader.ts";
import { isImplicit, isPlain, methodName, zeroSource } from "./wire.ts";

/** Writes a message as JSON; calls `leave` where only protobuf's own writer will do. */
export type JsonWriter = (message: never) => string;

/** How JSON is written. */
export interface JsonForm {
  /**
   * `full`: fields that are 0, false or empty are there, in the order of their numbers. `canonical`: they are not, and
   * names are sorted.
   */
  readonly kind: "full" | "canonical";
  /** Fields of the message itself that are left out, as the proto spells them. */
  readonly without: readonly string[];
}

/** Functions that generated code calls by these names. */
export interface JsonWriterHelpers {
  /** Names of the values of each enum that occurs, quoted, under the name of its function. */
  readonly enums: Readonly<Record<string, readonly (string | undefined)[]>>;
  text(value: unknown): string;
  bool(value: unknown): string;
  number(value: unknown): string;
  big(value: unknown): string;
  data(value: unknown): string;
  Timestamp(value: unknown): string;
  Duration(value: unknown): string;
  FieldMask(value: unknown): string;
  leave(): never;
}

const SCALARS: ReadonlyMap<ScalarType, string> = new Map([
  [ScalarType.STRING, "text"],
  [ScalarType.BOOL, "bool"],
  [ScalarType.INT32, "number"],
  [ScalarType.UINT32, "number"],
  [ScalarType.INT64, "big"],
  [ScalarType.UINT64, "big"],
  [ScalarType.DOUBLE, "number"],
  [ScalarType.BYTES, "data"],
]);

/**
 * Source of the body of a writer: a function of `m` that may call the helpers and the writers of other messages.
 * Undefined if the message has features that we do not use.
 */
export function jsonWriterSource(
  schema: DescMessage,
  kind: JsonForm["kind"],
  without: readonly string[],
): string | undefined {
  if (isTextInJson(schema)) return `return ${schema.name}(m);`;
  const sorted = schema.fields
    .filter(({ name }) => !without.includes(name))
    .toSorted((a, b) => (kind === "full" ? a.number - b.number : a.jsonName < b.jsonName ? -1 : 1));
  const lines: string[] = [];
  // Once a field is written in any case, the rest need not look whether they are the first.
  let isBegun = false;
  for (const field of sorted) {
    const value = isPlain(field) && zeroSource(field) !== undefined ? fieldSource(field, kind) : undefined;
    if (value === undefined) return undefined;
    const condition = conditionOf(field, kind);
    const name = `${JSON.stringify(field.jsonName)}:`;
    const write = isBegun ? `s += ${quoted(`,${name}`)} + ${value};` : `s += c + ${quoted(name)} + ${value};`;
    lines.push(
      condition === undefined ? write : `if (${condition}) { ${write} ${isBegun ? "" : 'c = ",";'} }`,
    );
    isBegun ||= condition === undefined;
  }
  return [`let s = "{", c = "";`, ...lines, `return s + "}";`].join("\n");
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

/** When a field is written; undefined: always. */
function conditionOf(field: DescField, kind: JsonForm["kind"]): string | undefined {
  const { oneof, localName } = field;
  if (oneof !== undefined) return `m.${oneof.localName}.case === "${localName}"`;
  const value = `m.${localName}`;
  if (field.fieldKind !== "list" && field.fieldKind !== "map" && !isImplicit(field))
    return `${value} !== undefined`;
  if (kind === "full") return undefined;
  if (field.fieldKind === "map") return `Object.keys(${value}).length > 0`;
  if (field.fieldKind === "list" || field.scalar === ScalarType.BYTES) return `${value}.length > 0`;
  return field.scalar === ScalarType.DOUBLE ? `!Object.is(${value}, 0)` : `${value} !== ${zeroSource(field)}`;
}

function fieldSource(field: DescField, kind: JsonForm["kind"]): string | undefined {
  const { oneof, localName } = field;
  const held = `m.${localName}`;
  if (field.fieldKind === "list") {
    const item = valueSource(field, "v");
    return item && `"[" + ${held}.map((v) => ${item}).join() + "]"`;
  }
  if (field.fieldKind === "map") {
    const value = valueSource(field, `${held}[k]`);
    const keys = `Object.keys(${held})${kind === "canonical" ? ".sort()" : ""}`;
    return value && `"{" + ${keys}.map((k) => text(k) + ":" + ${value}).join() + "}"`;
  }
  return valueSource(field, oneof === undefined ? held : `m.${oneof.localName}.value`);
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
  if (field.enum !== undefined) return `(enums.${enumName(field.enum)}[${value}] ?? number(${value}))`;
  const write = field.scalar === undefined ? undefined : SCALARS.get(field.scalar);
  return write && `${write}(${value})`;
}
