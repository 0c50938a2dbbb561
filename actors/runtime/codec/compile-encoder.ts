import { ScalarType, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { DELIMITED, FIXED64, isImplicit, isPlain, methodName, VARINT } from "./wire.ts";

/** Writes a message from `at` on and returns where it ends; past the end of the buffer nothing is written. */
export type Encoder = (bytes: Buffer, at: number, message: never) => number;

/** Functions that generated code calls by these names. */
export interface EncoderHelpers {
  varint(bytes: Buffer, at: number, value: number): number;
  signed(bytes: Buffer, at: number, value: number): number;
  big(bytes: Buffer, at: number, value: bigint): number;
  text(bytes: Buffer, at: number, value: string): number;
  data(bytes: Buffer, at: number, value: Uint8Array): number;
  double(bytes: Buffer, at: number, value: number): number;
  /** Puts the length before what was written from `lengthAt + 1` to `at`. */
  close(bytes: Buffer, lengthAt: number, at: number): number;
  unknown(): never;
}

interface Value {
  readonly wireType: number;
  /** Source of a statement that writes `name` without its tag and moves `at`. */
  readonly write: (name: string) => string;
  /** Source of a test that the value is not the default; undefined for messages, which are set or not. */
  readonly isSet: ((name: string) => string) | undefined;
}

const call =
  (helper: string) =>
  (name: string): string =>
    `at = ${helper}(b, at, ${name});`;
const unlessZero = (name: string) => `${name} !== 0`;
const unlessEmpty = (name: string) => `${name}.length !== 0`;
const SIGNED: Value = { wireType: VARINT, write: call("signed"), isSet: unlessZero };
const BIG: Value = { wireType: VARINT, write: call("big"), isSet: (name) => `${name} !== 0n` };

const SCALARS: ReadonlyMap<ScalarType, Value> = new Map([
  [ScalarType.STRING, { wireType: DELIMITED, write: call("text"), isSet: unlessEmpty }],
  [ScalarType.BYTES, { wireType: DELIMITED, write: call("data"), isSet: unlessEmpty }],
  [
    ScalarType.BOOL,
    { wireType: VARINT, write: (name) => `b[at++] = ${name} ? 1 : 0;`, isSet: (name) => `${name} !== false` },
  ],
  [ScalarType.INT32, SIGNED],
  [ScalarType.UINT32, { wireType: VARINT, write: call("varint"), isSet: unlessZero }],
  [ScalarType.INT64, BIG],
  [ScalarType.UINT64, BIG],
  [
    ScalarType.DOUBLE,
    { wireType: FIXED64, write: call("double"), isSet: (name) => `!Object.is(${name}, 0)` },
  ],
]);

/**
 * Source of the body of an encoder: a function of `b`, `at` and `m` that may call the helpers and the encoders of
 * other messages. Undefined if the message has features that we do not use: groups, fixed numbers.
 */
export function encoderSource(schema: DescMessage): string | undefined {
  const parts = ["const u = m.$unknown; if (u !== undefined && u.length > 0) unknown();"];
  for (const field of schema.fields.toSorted((a, b) => a.number - b.number)) {
    const part = isPlain(field) ? fieldSource(field) : undefined;
    if (part === undefined) return undefined;
    parts.push(`{ ${part} }`);
  }
  return `${parts.join("\n")}\nreturn at;`;
}

function fieldSource(field: DescField): string | undefined {
  if (field.fieldKind === "list") return listSource(field);
  if (field.fieldKind === "map") return mapSource(field);
  const value = valueOf(field);
  if (value === undefined) return undefined;
  const written = `${tagSource(field.number, value.wireType)} ${value.write("v")}`;
  const { localName, oneof } = field;
  if (oneof !== undefined)
    return `const o = m.${oneof.localName}; if (o.case === "${localName}") { const v = o.value; ${written} }`;
  const test = isImplicit(field) && value.isSet !== undefined ? ` && ${value.isSet("v")}` : "";
  return `const v = m.${localName}; if (v !== undefined${test}) { ${written} }`;
}

function valueOf(field: {
  readonly scalar?: ScalarType | undefined;
  readonly enum?: unknown;
  readonly message?: DescMessage | undefined;
}): Value | undefined {
  if (field.message !== undefined) {
    const encoder = methodName(field.message);
    const write = (name: string) => `const s = at; at = close(b, s, ${encoder}(b, s + 1, ${name}));`;
    return { wireType: DELIMITED, write, isSet: undefined };
  }
  if (field.enum !== undefined) return SIGNED;
  return field.scalar === undefined ? undefined : SCALARS.get(field.scalar);
}

function tagSource(number: number, wireType: number): string {
  const bytes: number[] = [];
  let rest = (number << 3) | wireType;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return [...bytes, rest].map((byte) => `b[at++] = ${byte};`).join(" ");
}

function listSource(field: DescField & { fieldKind: "list" }): string | undefined {
  const value = valueOf(field);
  if (value === undefined) return undefined;
  const { number, localName, packed } = field;
  const list = `const l = m.${localName};`;
  const each = (body: string) => `for (let i = 0; i < l.length; i++) { const v = l[i]; ${body} }`;
  if (value.wireType === DELIMITED || !packed)
    return `${list} ${each(`${tagSource(number, value.wireType)} ${value.write("v")}`)}`;
  const packing = `${tagSource(number, DELIMITED)} const p = at++; ${each(value.write("v"))} at = close(b, p, at);`;
  return `${list} if (l.length > 0) { ${packing} }`;
}

/** Keys are texts in a map, whatever they are on the wire. */
const MAP_KEYS: ReadonlyMap<ScalarType, { readonly wireType: number; readonly write: string }> = new Map([
  [ScalarType.STRING, { wireType: DELIMITED, write: "at = text(b, at, k);" }],
  [ScalarType.INT32, { wireType: VARINT, write: "at = signed(b, at, Number(k));" }],
]);

function mapSource(field: DescField & { fieldKind: "map" }): string | undefined {
  const value = valueOf(field);
  const key = MAP_KEYS.get(field.mapKey);
  if (value === undefined || key === undefined) return undefined;
  const entry = [
    `${tagSource(field.number, DELIMITED)} const p = at++;`,
    `${tagSource(1, key.wireType)} ${key.write}`,
    `${tagSource(2, value.wireType)} { ${value.write("o[k]")} }`,
    `at = close(b, p, at);`,
  ];
  return `const o = m.${field.localName}; for (const k of Object.keys(o)) { ${entry.join(" ")} }`;
}
