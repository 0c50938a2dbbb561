import { expect, it } from "vitest";
import {
  EntrySchema,
  type Entry,
  OutcomeStatus,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import {
  AmountRequestSchema,
  SampleActor,
} from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import { sampleActor } from "../sample.ts";
import { create } from "../codec/create.ts";
import { encode } from "../codec/encode.ts";
import { MemoryRecord } from "./record.ts";
import { applyEntry } from "./step.ts";

const { method } = SampleActor;
const fingerprint = new Uint8Array(32).fill(7);
const amountOf = (amount: bigint) => encode(AmountRequestSchema, create(AmountRequestSchema, { amount }));

function request(name: string, body: Uint8Array, id: string, replyTo = "", correlation = 0n): Entry {
  const value = { id, fingerprint, replyTo, correlation };
  const source = { case: "request", value } as Entry["source"];
  return create(EntrySchema, { kind: "sample", tenant: "acme", key: "a", method: name, body, source });
}

function apply(record: MemoryRecord, entry: Entry, origin: string) {
  const result = applyEntry(sampleActor, record, entry, { atMs: 1_000, origin }, true);
  return "effects" in result ? result.effects.replies : [];
}

it("answers all that wait for a request, and writes once what they ask", () => {
  const record = new MemoryRecord("sample", "acme", "a");
  apply(record, request(method.open.name, amountOf(9n), "r1"), "i1");
  const pay = amountOf(4n);
  apply(record, request(method.pay.name, pay, "r2", "reply.x", 5n), "i2");
  apply(record, request(method.pay.name, pay, "r2", "reply.y", 6n), "i3");

  record.undo(record.bytes()); // from here on, as it is stored
  const { waiters, tasks } = record.open(sampleActor.state).meta;
  expect(waiters).toMatchObject([{ requestId: "r2", fingerprint }]);
  expect(waiters[0]?.requests).toEqual(
    [
      { replyTo: "reply.x", correlation: 5n },
      { replyTo: "reply.y", correlation: 6n },
    ].map(
      (asker) => expect.objectContaining({ ...asker, id: "", fingerprint: new Uint8Array(0) }) as unknown,
    ),
  );

  const value = { task: tasks[0]?.id ?? "", status: OutcomeStatus.DONE };
  const body = amountOf(4n);
  const source = { case: "outcome", value } as Entry["source"];
  const replies = apply(
    record,
    create(EntrySchema, { kind: "sample", tenant: "acme", key: "a", body, source }),
    "i4",
  );
  expect(
    replies.map(({ request: { replyTo, correlation }, replayed }) => [replyTo, correlation, replayed]),
  ).toEqual([
    ["reply.x", 5n, false],
    ["reply.y", 6n, true],
  ]);
});
