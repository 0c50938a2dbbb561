import { ScalarType, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { ABSENT, DELIMITED, FIXED64, isPlain, methodName, VARINT, zeroSource } from "./wire.ts";

/** Reads a message that fills the buffer from `at` to `end`; calls `leave` where only protobuf's own reader will do. */
export type Decoder = (bytes: Buffer, at: number, end: number) => unknown;

/** Functions that generated code calls by these names; `h` is all of them. */
export interface DecoderHelpers {
  /** Where the last number ended. */
  at: number;
  varint(bytes: Buffer, at: number): number;
  signed(bytes: Buffer, at: number): number;
  int64(bytes: Buffer, at: number): bigint;
  uint64(bytes: Buffer, at: number): bigint;
  text(bytes: Buffer, at: number, end: number): string;
  data(bytes: Buffer, at: number, end: number): Uint8Array;
  double(bytes: Buffer, at: number): number;
  /** Leaves the message to protobuf's own reader. */
  leave(): never;
}

interface Value {
  readonly wireType: number;
  /** Source of statements that read the value into `v` and move `at`. */
  readonly read: string;
}

const number = (helper: string): Value => ({
  wireType: VARINT,
  read: `const v = ${helper}(b, at); at = h.at;`,
});
const LENGTH = "let n = b[at]; if (n < 128) at++; else { n = varint(b, at); at = h.at; }";
const ENDS = "const e = at + n; if (!(e <= end)) leave();";
const delimited = (source: string): Value => ({
  wireType: DELIMITED,
  read: `${LENGTH} ${ENDS} const v = ${source}; at = e;`,
});
const SIGNED = number("signed");

const SCALARS: ReadonlyMap<ScalarType, Value> = new Map([
  [ScalarType.STRING, delimited("text(b, at, e)")],
  [ScalarType.BYTES, delimited("data(b, at, e)")],
  [ScalarType.BOOL, { wireType: VARINT, read: "const v = varint(b, at) !== 0; at = h.at;" }],
  [ScalarType.INT32, SIGNED],
  [ScalarType.UINT32, number("varint")],
  [ScalarType.INT64, number("int64")],
  [ScalarType.UINT64, number("uint64")],
  [ScalarType.DOUBLE, { wireType: FIXED64, read: "const v = double(b, at); at += 8;" }],
]);

/**
 * Source of the body of a decoder: a function of `b`, `at` and `end` that may call the helpers and the decoders of
 * other messages. Undefined if the message has features that we do not use.
 */
export function decoderSource(schema: DescMessage): string | undefined {
  const cases: string[] = [];
  for (const field of schema.fields) {
    const part = isPlain(field) ? fieldCase(field) : undefined;
    if (part === undefined) return undefined;
    cases.push(part);
  }
  const groups = schema.oneofs.map(({ localName }) => `${localName}: { case: undefined }`);
  const zeros = schema.members.flatMap((member) => (member.kind === "oneof" ? [] : zeroOf(member)));
  return [
    `const m = { $typeName: "${schema.typeName}", ${[...zeros, ...groups].join(", ")} };`,
    "while (at < end) {",
    "let t = b[at++];",
    "if (t > 127) { t = (t & 127) | (b[at++] << 7); if (t > 16383) leave(); }",
    `switch (t) {\n${cases.join("\n")}\ndefault: leave();\n}`,
    "}",
    "if (at !== end) leave();",
    "return m;",
  ].join("\n");
}

function zeroOf(field: DescField): readonly string[] {
  const zero = zeroSource(field);
  return zero === undefined || zero === ABSENT ? [] : [`${field.localName}: ${zero}`];
}

function fieldCase(field: DescField): string | undefined {
  if (field.fieldKind === "map") return mapCase(field);
  const value = valueOf(field);
  if (value === undefined) return undefined;
  const { localName, oneof, message } = field;
  if (field.fieldKind === "list") return listCase(field, value);
  if (oneof !== undefined) {
    // A message that comes twice is merged.
    const once = message === undefined ? "" : `if (m.${oneof.localName}.case === "${localName}") leave();`;
    return caseOf(
      field,
      value.wireType,
      `${once} ${value.read} m.${oneof.localName} = { case: "${localName}", value: v };`,
    );
  }
  const once = message === undefined ? "" : `if (m.${localName} !== undefined) leave();`;
  return caseOf(field, value.wireType, `${once} ${value.read} m.${localName} = v;`);
}

function caseOf(field: DescField, wireType: number, body: string): string {
  return `case ${(field.number << 3) | wireType}: { ${body} break; }`;
}

function valueOf(field: {
  readonly scalar?: ScalarType | undefined;
  readonly enum?: unknown;
  readonly message?: DescMessage | undefined;
}): Value | undefined {
  if (field.message !== undefined) return delimited(`${methodName(field.message)}(b, at, e)`);
  if (field.enum !== undefined) return SIGNED;
  return field.scalar === undefined ? undefined : SCALARS.get(field.scalar);
}

function listCase(field: DescField & { fieldKind: "list" }, value: Value): string {
  const { localName, packed } = field;
  if (value.wireType === DELIMITED || !packed)
    return caseOf(field, value.wireType, `${value.read} m.${localName}.push(v);`);
  const items = `while (at < e) { ${value.read} m.${localName}.push(v); } if (at !== e) leave();`;
  return caseOf(field, DELIMITED, `${LENGTH} ${ENDS} ${items}`);
}

function mapCase(field: DescField & { fieldKind: "map" }): string | undefined {
  const value = valueOf(field);
  const isKey = field.mapKey === ScalarType.STRING || field.mapKey === ScalarType.INT32;
  const key = isKey ? SCALARS.get(field.mapKey) : undefined;
  if (value === undefined || key === undefined) return undefined;
  const pair = [
    `if (b[at++] !== ${(1 << 3) | key.wireType}) leave();`,
    `let k; { const end = E; ${key.read} k = v; }`,
    `if (b[at++] !== ${(2 << 3) | value.wireType}) leave();`,
    `{ const end = E; ${value.read} if (k === "__proto__") leave(); m.${field.localName}[k] = v; }`,
    "if (at !== E) leave();",
  ].join(" ");
  return caseOf(field, DELIMITED, `${LENGTH} const E = at + n; if (!(E <= end)) leave(); ${pair}`);
}
