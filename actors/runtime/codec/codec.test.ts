import {
  create,
  fromBinary,
  fromJsonString,
  ScalarType,
  toBinary,
  toJson,
  toJsonString,
  type DescField,
  type DescMessage,
  type Message,
} from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { file_tradewind_actors_analytics_v1_analytics_state } from "../../../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import { file_tradewind_actors_sim_v1_sim_actor } from "../../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import { file_tradewind_actors_order_v1_order_events } from "../../../proto/gen/tradewind/actors/order/v1/order_events_pb.ts";
import { file_tradewind_actors_order_v1_order_state } from "../../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import {
  BundleSchema,
  EntrySchema,
  file_tradewind_actors_runtime_v1_journal,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { create as quickCreate } from "./create.ts";
import { decode } from "./decode.ts";
import { encodeBundle } from "./encode-bundle.ts";
import { encode } from "./encode.ts";
import { decodeJson, encodeJson } from "./json.ts";

const text = fc.oneof(
  fc.string({ maxLength: 60 }),
  fc.string({ unit: "grapheme", maxLength: 60 }),
  fc.constantFrom("", "x".repeat(41), "é".repeat(200), "\ud800"),
);
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.constantFrom(new Uint8Array(0), new Uint8Array(70_000)),
);

const SCALARS = new Map<ScalarType, fc.Arbitrary<unknown>>([
  [ScalarType.STRING, text.map((value) => value.toWellFormed())],
  [ScalarType.BYTES, bytes],
  [ScalarType.BOOL, fc.boolean()],
  [ScalarType.INT32, fc.oneof(fc.integer(), fc.constant(0))],
  [ScalarType.UINT32, fc.integer({ min: 0, max: 0xffff_ffff })],
  [ScalarType.INT64, fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.constant(0n))],
  [ScalarType.UINT64, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })],
  [ScalarType.DOUBLE, fc.double()],
]);

function single(field: DescField, depth: number): fc.Arbitrary<unknown> {
  if (field.message) return anyMessage(field.message, depth - 1);
  if (field.enum) return fc.constantFrom(...field.enum.values.map(({ number }) => number));
  const scalar = field.scalar === undefined ? undefined : SCALARS.get(field.scalar);
  if (scalar === undefined) throw new Error(`no values for ${String(field)}`);
  return scalar;
}

function fieldOf(field: DescField, depth: number): fc.Arbitrary<unknown> {
  const item = single(field, depth);
  if (field.fieldKind === "list") return fc.array(item, { maxLength: depth > 0 ? 3 : 0 });
  if (field.fieldKind === "map") {
    const key = field.mapKey === ScalarType.STRING ? fc.string({ maxLength: 8 }) : fc.integer().map(String);
    return fc.dictionary(key, item, { maxKeys: 3, noNullPrototype: true });
  }
  return item;
}

/** Any message of the schema, nested to a depth. */
function anyMessage(schema: DescMessage, depth: number): fc.Arbitrary<Message> {
  return anyInit(schema, depth).map((init) => create(schema, init as never));
}

/** What one may give to make a message of the schema. */
function anyInit(schema: DescMessage, depth: number): fc.Arbitrary<unknown> {
  const plain = schema.fields.filter(
    ({ oneof, message }) => oneof === undefined && (message === undefined || depth > 0),
  );
  const groups = schema.oneofs.map(({ localName, fields }) => [
    localName,
    depth > 0
      ? fc.oneof(
          fc.constant({ case: undefined }),
          ...fields.map((field) => single(field, depth).map((value) => ({ case: field.localName, value }))),
        )
      : fc.constant({ case: undefined }),
  ]);
  const fields = plain.map((field) => [field.localName, fieldOf(field, depth)]);
  return fc.record(Object.fromEntries([...fields, ...groups]) as Record<string, fc.Arbitrary<unknown>>, {
    requiredKeys: [],
  });
}

const schemas = [
  file_tradewind_actors_analytics_v1_analytics_state,
  file_tradewind_actors_sim_v1_sim_actor,
  file_tradewind_actors_runtime_v1_journal,
  file_tradewind_actors_order_v1_order_state,
  file_tradewind_actors_order_v1_order_events,
].flatMap(({ messages }) => messages);

const events = [
  file_tradewind_actors_order_v1_order_state,
  file_tradewind_actors_order_v1_order_events,
].flatMap(({ messages }) => messages);

describe("the creator", () => {
  it.each(schemas.map((schema) => [schema.typeName, schema] as const))(
    "makes %s as protobuf does",
    (_, schema) => {
      fc.assert(
        fc.property(anyInit(schema, 3), (init) => {
          expect(quickCreate(schema, init as never)).toEqual(create(schema, init as never));
        }),
        { numRuns: 60 },
      );
      expect(quickCreate(schema)).toEqual(create(schema));
    },
  );

  it("returns a message as it is", () => {
    const entry = create(EntrySchema, { kind: "order" });
    expect(quickCreate(EntrySchema, entry)).toBe(entry);
  });
});

describe("the decoder", () => {
  it.each(schemas.map((schema) => [schema.typeName, schema] as const))(
    "reads %s as protobuf does",
    (_, schema) => {
      fc.assert(
        fc.property(anyMessage(schema, 3), (message) => {
          const data = toBinary(schema, message);
          expect(decode(schema, data)).toEqual(fromBinary(schema, data));
        }),
        { numRuns: 60 },
      );
    },
  );

  it.each(schemas.map((schema) => [schema.typeName, schema] as const))(
    "takes and refuses broken bytes of %s as protobuf does",
    (_, schema) => {
      const broken = fc
        .tuple(anyMessage(schema, 2), fc.nat(), fc.nat(255), fc.boolean())
        .map(([message, at, byte, isCut]) => {
          const data = toBinary(schema, message);
          const place = data.length === 0 ? 0 : at % data.length;
          if (isCut) return data.slice(0, place);
          data[place] = byte;
          return data;
        });
      fc.assert(
        fc.property(broken, (data) => {
          expect(outcomeOf(() => decode(schema, data))).toEqual(outcomeOf(() => fromBinary(schema, data)));
        }),
        { numRuns: 200 },
      );
    },
  );

  it("keeps unknown fields", () => {
    const newer = new Uint8Array([0x0a, 1, 0x61, 0xfa, 0x06, 2, 1, 2]);
    expect(decode(EntrySchema, newer)).toEqual(fromBinary(EntrySchema, newer));
  });

  it("merges a message that comes in parts", () => {
    const parts = Buffer.concat(
      [{ id: "r" }, { replyTo: "x" }].map((value) =>
        toBinary(EntrySchema, create(EntrySchema, { source: { case: "request", value } })),
      ),
    );
    expect(decode(EntrySchema, parts).source.value).toMatchObject({ id: "r", replyTo: "x" });
  });
});

function outcomeOf(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return String(error);
  }
}

const broken = (json: unknown): fc.Arbitrary<unknown> =>
  fc.constantFrom(
    null,
    5,
    -0,
    1.5,
    "",
    "7",
    "-7",
    "007",
    "1e3",
    "\ud800",
    "9223372036854775808",
    true,
    [],
    [null],
    {},
    json,
  );

describe("the JSON of messages", () => {
  it.each(events.map((schema) => [schema.typeName, schema] as const))(
    "writes and reads %s as protobuf does",
    (_, schema) => {
      fc.assert(
        fc.property(anyMessage(schema, 3), (message) => {
          const text = toJsonString(schema, message);
          expect(encodeJson(schema, message)).toBe(text);
          expect(decodeJson(schema, text)).toEqual(fromJsonString(schema, text));
        }),
        { numRuns: 60 },
      );
    },
  );

  it.each(events.map((schema) => [schema.typeName, schema] as const))(
    "takes and refuses other values in the fields of %s as protobuf does",
    (_, schema) => {
      const names = [
        ...schema.fields.flatMap(({ name, jsonName }) => [name, jsonName]),
        "unknown",
        "__proto__",
      ];
      const changed = fc.tuple(anyMessage(schema, 2), fc.constantFrom(...names)).chain(([message, name]) => {
        const json = toJson(schema, message) as Record<string, unknown>;
        return broken(json[name]).map((value) => JSON.stringify({ ...json, [name]: value }));
      });
      fc.assert(
        fc.property(changed, (text) => {
          const general = () => fromJsonString(schema, text, { ignoreUnknownFields: true });
          expect(outcomeOf(() => decodeJson(schema, text))).toEqual(outcomeOf(general));
        }),
        { numRuns: 100 },
      );
    },
  );
});

describe("the encoder", () => {
  it.each(schemas.map((schema) => [schema.typeName, schema] as const))(
    "writes %s as protobuf does",
    (_, schema) => {
      fc.assert(
        fc.property(anyMessage(schema, 3), (message) => {
          expect(Buffer.compare(encode(schema, message), toBinary(schema, message))).toBe(0);
        }),
        { numRuns: 60 },
      );
    },
  );

  it("leaves messages with unknown fields to the general encoder", () => {
    const newer = new Uint8Array([0x0a, 1, 0x61, 0xfa, 0x06, 2, 1, 2]);
    const entry = fromBinary(EntrySchema, newer);
    expect([...encode(EntrySchema, entry)]).toEqual([...newer]);
    const bundle = create(BundleSchema, { entries: [entry] });
    expect(Buffer.compare(encode(BundleSchema, bundle), toBinary(BundleSchema, bundle))).toBe(0);
  });

  it("bundles entries that are encoded already", () => {
    fc.assert(
      fc.property(fc.array(anyMessage(EntrySchema, 1), { maxLength: 8 }), (entries) => {
        const bundle = encodeBundle(entries.map((entry) => encode(EntrySchema, entry as never)));
        const general = toBinary(BundleSchema, create(BundleSchema, { entries: entries as never }));
        expect(Buffer.compare(bundle, general)).toBe(0);
      }),
      { numRuns: 50 },
    );
  });
});
