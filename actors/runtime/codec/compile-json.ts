import { ScalarType, type DescEnum, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { isImplicit, messagesWithin, methodName, zeroSource } from "./wire.ts";

/** Functions that generated code calls by these names. */
export interface JsonHelpers {
  /** Names of enum values by number, by type. */
  readonly names: Readonly<Record<string, Readonly<Record<number, string>>>>;
  /** The other way round. */
  readonly numbers: Readonly<Record<string, Readonly<Record<string, number>>>>;
  quoted(value: unknown): string;
  text(value: unknown): string;
  int64(value: unknown): bigint;
  /** Leaves the message to protobuf's own code. */
  leave(): never;
}

interface Value {
  /** Source of an expression: the JSON text of `name`. */
  readonly write: (name: string) => string;
  /** Source of an expression: the value of `name`, which comes from parsed JSON. */
  readonly read: (name: string) => string;
  readonly zero: string;
}

const INT64: Value = {
  write: (name) => `(typeof ${name} === "bigint" ? '"' + ${name} + '"' : leave())`,
  read: (name) => `int64(${name})`,
  zero: "0n",
};
const SCALARS: ReadonlyMap<ScalarType, Value> = new Map([
  [ScalarType.STRING, { write: (name) => `quoted(${name})`, read: (name) => `text(${name})`, zero: '""' }],
  [
    ScalarType.BOOL,
    {
      write: (name) => `(typeof ${name} === "boolean" ? ${name} : leave())`,
      read: (name) => `(typeof ${name} === "boolean" ? ${name} : leave())`,
      zero: "false",
    },
  ],
  [
    ScalarType.INT32,
    {
      write: (name) => `((${name} | 0) === ${name} ? ${name} : leave())`,
      read: (name) => `(Object.is(${name} | 0, ${name}) ? ${name} : leave())`,
      zero: "0",
    },
  ],
  [ScalarType.INT64, INT64],
]);

/** Descriptors of all enums in a message, nested ones included. */
export function enumsWithin(schema: DescMessage): readonly DescEnum[] {
  return [...messagesWithin(schema)].flatMap(({ fields }) =>
    fields.flatMap((field) => (field.enum === undefined ? [] : [field.enum])),
  );
}

function valueOf(field: DescField): Value | undefined {
  if (field.message !== undefined) {
    if (field.message.typeName.startsWith("google.protobuf.")) return undefined;
    const call = (name: string) => `${methodName(field.message as DescMessage)}(${name})`;
    return { write: call, read: call, zero: "undefined" };
  }
  if (field.enum !== undefined) {
    const { typeName, values } = field.enum;
    if (values.some(({ name, jsonName }) => name !== jsonName)) return undefined;
    return {
      write: (name) => `'"' + (names["${typeName}"][${name}] ?? leave()) + '"'`,
      read: (name) => `(numbers["${typeName}"][${name}] ?? leave())`,
      zero: String(values[0]?.number),
    };
  }
  return field.scalar === undefined ? undefined : SCALARS.get(field.scalar);
}

function plainValue(field: DescField): Value | undefined {
  const isLongText = "longAsString" in field && field.longAsString;
  const isPlain = field.oneof === undefined && field.fieldKind !== "map" && !isLongText;
  const isOptional = field.fieldKind !== "list" && field.message === undefined && !isImplicit(field);
  return isPlain && !isOptional && field.jsonName !== "__proto__" ? valueOf(field) : undefined;
}

/** Source of the body of a writer: a function of `m`. Undefined if the message has features that we do not use. */
export function jsonWriterSource(schema: DescMessage): string | undefined {
  const parts = [`if (m.$typeName !== "${schema.typeName}") leave();`, 'let s = "";'];
  for (const field of schema.fields.toSorted((a, b) => a.number - b.number)) {
    const value = plainValue(field);
    if (value === undefined) return undefined;
    const head = `s += (s === "" ? '{"${field.jsonName}":' : ',"${field.jsonName}":')`;
    const source =
      field.fieldKind === "list"
        ? `if (v.length > 0) { ${head} + "["; for (let i = 0; i < v.length; i++) { const e = v[i]; ` +
          `s += (i === 0 ? "" : ",") + ${value.write("e")}; } s += "]"; }`
        : `if (v !== ${value.zero}) { ${head} + ${value.write("v")}; }`;
    parts.push(`{ const v = m.${field.localName}; ${source} }`);
  }
  return `${parts.join("\n")}\nreturn s === "" ? "{}" : s + "}";`;
}

/** Source of the body of a reader: a function of `m`, parsed JSON. Undefined as for the writer. */
export function jsonReaderSource(schema: DescMessage): string | undefined {
  const cases: string[] = [];
  const zeros: string[] = [];
  for (const field of schema.fields) {
    const value = plainValue(field);
    const zero = zeroSource(field);
    if (value === undefined || zero === undefined) return undefined;
    if (zero !== "") zeros.push(`${field.localName}: ${zero}`);
    const target = `o.${field.localName}`;
    const source =
      field.fieldKind === "list"
        ? `if (!Array.isArray(v)) leave(); for (let i = 0; i < v.length; i++) { const e = v[i]; ` +
          `${target}.push(${value.read("e")}); }`
        : `${target} = ${value.read("v")};`;
    cases.push(`case "${field.jsonName}": { ${source} break; }`);
  }
  return [
    'if (typeof m !== "object" || m === null || Array.isArray(m)) leave();',
    `const o = { $typeName: "${schema.typeName}", ${zeros.join(", ")} };`,
    `for (const k in m) { const v = m[k]; switch (k) { ${cases.join("\n")}\ndefault: leave(); } }`,
    "return o;",
  ].join("\n");
}
