import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, it } from "vitest";
import { BundleSchema, EntrySchema } from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { encodeBundle } from "./encode-bundle.ts";
import { encodeEntry } from "./encode-entry.ts";

const text = fc.oneof(fc.string({ maxLength: 200 }), fc.string({ unit: "grapheme", maxLength: 200 }));
const bytes = fc.uint8Array({ maxLength: 300 });
const count = fc.nat();

const request = fc.record({
  id: text,
  fingerprint: bytes,
  replyTo: text,
  correlation: fc.bigInt(0n, 2n ** 53n - 1n),
});
const outcome = fc.record({
  task: text,
  status: fc.integer({ min: 0, max: 3 }),
  attempts: count,
  error: text,
});
const source = fc.oneof(
  request.map((value) => ({ case: "request" as const, value })),
  outcome.map((value) => ({ case: "outcome" as const, value })),
  fc.constant({ case: "firing" as const, value: { timer: "expiry", arm: "a-1", deadlineMs: 5n } }),
  fc.constant({ case: undefined }),
);

const entry = fc
  .record({
    kind: text,
    tenant: text,
    key: text,
    method: text,
    body: fc.oneof(
      { weight: 30, arbitrary: bytes },
      { weight: 1, arbitrary: fc.constant(new Uint8Array(70_000)) },
    ),
    source,
    trace: text,
    redrive: fc.option(fc.constant({ deadLetter: "dl-1" }), { nil: undefined }),
    depth: fc.constantFrom(0, 0, 0, 3),
    fresh: fc.constantFrom(false, false, false, true),
    origin: fc.constantFrom("", "", "", "o-1"),
    atMs: fc.constantFrom(0n, 0n, 0n, 9n),
  })
  .map(({ redrive, ...rest }) =>
    create(EntrySchema, { ...rest, ...(redrive && { redrive }) } as MessageInitShape<typeof EntrySchema>),
  );

it("writes the bytes that the general encoder writes", () => {
  fc.assert(
    fc.property(entry, (one) => {
      expect(Buffer.compare(encodeEntry(one), toBinary(EntrySchema, one))).toBe(0);
    }),
    { numRuns: 200 },
  );
});

it("knows all fields of an entry", () => {
  // A field that is added to the schema belongs into encodeEntry, or on its list of what goes the general way.
  expect(EntrySchema.fields.map(({ name }) => name)).toEqual([
    "kind",
    "tenant",
    "key",
    "method",
    "body",
    "request",
    "firing",
    "outcome",
    "redrive",
    "trace",
    "depth",
    "fresh",
    "origin",
    "at_ms",
  ]);
});

it("bundles encoded entries as the general encoder does", () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 5 }), (entries) => {
      const bundle = encodeBundle(entries.map((one) => toBinary(EntrySchema, one)));
      expect(Buffer.compare(bundle, toBinary(BundleSchema, create(BundleSchema, { entries })))).toBe(0);
      expect(fromBinary(BundleSchema, bundle).entries).toHaveLength(entries.length);
    }),
    { numRuns: 40 },
  );
});
