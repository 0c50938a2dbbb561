import {
  create,
  type DescField,
  type DescMessage,
  fromJsonString,
  type Message,
  ScalarType,
  toJson,
  toJsonString,
} from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { file_tradewind_actors_order_v1_order_state } from "../../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { file_tradewind_actors_runtime_v1_journal } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { file_tradewind_analytics_v1_analytics_service } from "../../../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { file_tradewind_catalog_v1_catalog_service } from "../../../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import { file_tradewind_order_v1_order } from "../../../proto/gen/tradewind/order/v1/order_pb.ts";
import {
  file_tradewind_order_v1_order_service,
  PlaceOrderRequestSchema,
  WatchOrdersResponseSchema,
} from "../../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import type { JsonForm } from "./compile-json-writer.ts";
import { readJson } from "./read-json.ts";
import { writeJson } from "./write-json.ts";

const FULL: JsonForm = { kind: "full", without: [] };
const CANONICAL: JsonForm = { kind: "canonical", without: [] };

const text = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.constantFrom("", '"', "\\", "\n", "\u2028", "\ufffd", "__proto__", "\u007f"),
);
const SCALARS = new Map<ScalarType, fc.Arbitrary<unknown>>([
  [ScalarType.STRING, text.map((value) => value.toWellFormed())],
  [ScalarType.BYTES, fc.uint8Array({ maxLength: 40 })],
  [ScalarType.BOOL, fc.boolean()],
  [ScalarType.INT32, fc.oneof(fc.integer(), fc.constant(0))],
  [ScalarType.UINT32, fc.integer({ min: 0, max: 0xffff_ffff })],
  [ScalarType.INT64, fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.constant(0n))],
  [ScalarType.UINT64, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })],
  [ScalarType.DOUBLE, fc.oneof(fc.double(), fc.constantFrom(0, -0, 1e21, 0.1))],
]);

/** Values of those messages that have a form of their own in JSON. */
const WELL_KNOWN = new Map<string, fc.Arbitrary<unknown>>([
  [
    "google.protobuf.Timestamp",
    fc.oneof(
      fc
        .date({ min: new Date("0001-01-01"), max: new Date("9999-12-31"), noInvalidDate: true })
        .map((date) => timestampFromMs(date.getTime())),
      fc.record({
        seconds: fc.bigInt({ min: 0n, max: 4n }),
        nanos: fc.integer({ min: 0, max: 999_999_999 }),
      }),
    ),
  ],
  [
    "google.protobuf.Duration",
    fc.record({ seconds: fc.bigInt({ min: 0n, max: 10n ** 11n }), nanos: fc.constantFrom(0, 5, 5_000_000) }),
  ],
  ["google.protobuf.FieldMask", fc.record({ paths: fc.constantFrom([], ["a", "b_c"]) })],
]);

function valueOf(field: DescField, depth: number): fc.Arbitrary<unknown> {
  if (field.message) return initOf(field.message, depth - 1);
  if (field.enum) return fc.constantFrom(...field.enum.values.map(({ number }) => number), 77);
  return (field.scalar === undefined ? undefined : SCALARS.get(field.scalar)) ?? expect.fail(String(field));
}

function fieldOf(field: DescField, depth: number): fc.Arbitrary<unknown> {
  const value = valueOf(field, depth);
  if (field.fieldKind === "list") return fc.array(value, { maxLength: 3 });
  if (field.fieldKind !== "map") return value;
  const key =
    field.mapKey === ScalarType.STRING
      ? text.filter((name) => name !== "__proto__")
      : fc.integer().map(String);
  return fc.dictionary(key, value, { maxKeys: 3, noNullPrototype: true });
}

function initOf(schema: DescMessage, depth: number): fc.Arbitrary<unknown> {
  const known = WELL_KNOWN.get(schema.typeName);
  if (known !== undefined) return known;
  if (depth < 0) return fc.constant({});
  const fields = schema.members.map((member) =>
    member.kind === "field"
      ? [member.localName, fieldOf(member, depth)]
      : [
          member.localName,
          fc.oneof(
            fc.constant({ case: undefined }),
            ...member.fields.map((field) =>
              valueOf(field, depth).map((value) => ({ case: field.localName, value })),
            ),
          ),
        ],
  );
  return fc.record(Object.fromEntries(fields) as Record<string, fc.Arbitrary<unknown>>, { requiredKeys: [] });
}

function messageOf(schema: DescMessage): fc.Arbitrary<Message> {
  return initOf(schema, 3).map((init) => create(schema, init as never));
}

const schemas = [
  file_tradewind_order_v1_order_service,
  file_tradewind_order_v1_order,
  file_tradewind_catalog_v1_catalog_service,
  file_tradewind_analytics_v1_analytics_service,
  file_tradewind_actors_order_v1_order_state,
  file_tradewind_actors_runtime_v1_journal,
].flatMap(({ messages }) => messages.map((schema) => [schema.typeName, schema] as const));

/** What the keys of a request are made of, written in the plainest way. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`).join(",")}}`;
}

const bytesOf = (json: string) => new TextEncoder().encode(json);

function read(schema: DescMessage, json: string): Message | undefined {
  return fromJsonString(schema, json, { ignoreUnknownFields: true });
}

describe("the writer", () => {
  it.each(schemas)("writes %s as protobuf does", (_, schema) => {
    fc.assert(
      fc.property(messageOf(schema), (message) => {
        const full = writeJson(schema, message, FULL);
        if (full !== undefined)
          expect(full).toBe(toJsonString(schema, message, { alwaysEmitImplicit: true }));
        const sorted = writeJson(schema, message, CANONICAL);
        if (sorted !== undefined) expect(sorted).toBe(canonical(toJson(schema, message)));
      }),
      { numRuns: 60 },
    );
    expect(writeJson(schema, create(schema), FULL)).toBe(
      toJsonString(schema, create(schema), { alwaysEmitImplicit: true }),
    );
  });

  it("leaves out what it is told, of the message itself alone", () => {
    const lines = [{ productId: "tea", quantity: 1 }];
    const request = create(PlaceOrderRequestSchema, { customerId: "ada", requestId: "k", lines });
    const form: JsonForm = { kind: "canonical", without: ["request_id", "quantity"] };
    expect(writeJson(PlaceOrderRequestSchema, request, form)).toBe(
      '{"customerId":"ada","lines":[{"productId":"tea","quantity":1}]}',
    );
  });

  it("leaves what cannot be written to protobuf's own", () => {
    const timeout = { seconds: 10n ** 13n };
    const request = create(PlaceOrderRequestSchema, { timeout });
    expect(writeJson(PlaceOrderRequestSchema, request, FULL)).toBeUndefined();
    const lines = [{ productId: "tea", quantity: Number.NaN }];
    expect(
      writeJson(PlaceOrderRequestSchema, create(PlaceOrderRequestSchema, { lines }), FULL),
    ).toBeUndefined();
  });
});

describe("the reader", () => {
  it.each(schemas)("reads %s as protobuf does", (_, schema) => {
    fc.assert(
      fc.property(messageOf(schema), fc.boolean(), (message, alwaysEmitImplicit) => {
        const json = toJsonString(schema, message, { alwaysEmitImplicit });
        const found = readJson(schema, bytesOf(json));
        if (found !== undefined) expect(found).toEqual(read(schema, json));
      }),
      { numRuns: 60 },
    );
  });

  const plain =
    '{"customerId":"ada","lines":[{"productId":"tea","quantity":2}],"payment":{"methodToken":"tok"},' +
    '"wait":"WAIT_SETTLED","timeout":"25s","channel":1,"metadata":{"a":"b"},"expectedTotal":{"minorUnits":"5"}}';

  it("reads a usual request", () => {
    expect(readJson(PlaceOrderRequestSchema, bytesOf(plain))).toEqual(read(PlaceOrderRequestSchema, plain));
    const pretty = JSON.stringify(JSON.parse(plain), undefined, 2);
    expect(readJson(PlaceOrderRequestSchema, bytesOf(pretty))).toEqual(read(PlaceOrderRequestSchema, plain));
    const small = '{"expectedTotal":{"minorUnits":7}}';
    expect(readJson(PlaceOrderRequestSchema, bytesOf(small))).toEqual(read(PlaceOrderRequestSchema, small));
  });

  it("reads nothing that protobuf's own would read in another way, or refuse", () => {
    fc.assert(
      fc.property(
        fc.nat(plain.length),
        fc.nat(6),
        fc.constantFrom("", "null", "7", '"', "{", "}", ",", '"wait":1,', "\\u0041", "é", "-", "0.5", "[]"),
        (at, removed, inserted) => {
          const broken = plain.slice(0, at) + inserted + plain.slice(at + removed);
          const found = readJson(PlaceOrderRequestSchema, bytesOf(broken));
          if (found !== undefined) expect(found).toEqual(read(PlaceOrderRequestSchema, broken));
        },
      ),
      { numRuns: 3_000 },
    );
  });

  it.each([
    ["a name twice", '{"customerId":"a","customerId":"b"}'],
    ["a name twice in a message that is dropped", '{"payment":{"methodToken":"a"},"payment":{}}'],
    ["a name twice with a number", '{"lines":[{"quantity":1,"quantity":2}]}'],
    ["both names of a field", '{"customerId":"a","customer_id":"b"}'],
    ["an unknown field", '{"nobody":1}'],
    ["null", '{"customerId":null}'],
    ["an escape", '{"customerId":"\\u0061"}'],
    ["an unknown value of an enum", '{"wait":"WAIT_FOR_EVER"}'],
    ["a number in a text", '{"lines":[{"quantity":"1"}]}'],
    ["a fraction", '{"lines":[{"quantity":1.5}]}'],
    ["a large number", '{"lines":[{"quantity":2147483648}]}'],
    ["a prototype", '{"metadata":{"__proto__":"x"}}'],
    ["no object", '"x"'],
    ["nothing", ""],
    ["two of a group", '{"snapshot":{},"update":{}}', WatchOrdersResponseSchema],
  ])("leaves %s to protobuf's own", (_, json, schema: DescMessage = PlaceOrderRequestSchema) => {
    expect(readJson(schema, bytesOf(json))).toBeUndefined();
  });

  it("leaves bytes that are no text", () => {
    expect(
      readJson(
        PlaceOrderRequestSchema,
        Uint8Array.from([...bytesOf('{"customerId":"'), 0xff, ...bytesOf('"}')]),
      ),
    ).toBeUndefined();
  });
});
