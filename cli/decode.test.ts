import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { createTopology } from "../actors/runtime/index.ts";
import { ClaimActor } from "../proto/gen/tradewind/actors/claim/v1/claim_actor_pb.ts";
import { OrderStateSchema } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { ProviderCallSchema } from "../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import {
  BundleSchema,
  CommitKind,
  CommitSchema,
  DeadLetterSchema,
  LeaseSchema,
  ListPageSchema,
  MarkSchema,
  RecordSchema,
  TaskSchema,
} from "../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { StockUnitsSchema } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { decode, formOf } from "./decode.ts";
import { targetOf } from "./inspect.ts";
import { inputOf, stateOf } from "./kinds.ts";

const topology = createTopology();
const order = toBinary(OrderStateSchema, create(OrderStateSchema, { customerId: "ada", total: 1_299n }));
const record = (init: MessageInitShape<typeof RecordSchema>) =>
  toBinary(RecordSchema, create(RecordSchema, init));
const entry = {
  kind: "stock",
  tenant: "demo",
  key: "tea",
  method: "Release",
  body: toBinary(StockUnitsSchema, create(StockUnitsSchema, { quantity: 2 })),
};
const task = {
  id: "t-1",
  queue: "payment_capture",
  kind: "payment",
  tenant: "demo",
  key: "ord_1",
  body: toBinary(ProviderCallSchema, create(ProviderCallSchema, { key: "ord_1:1:capture", amount: 5n })),
};

describe("inspect", () => {
  it("shows a record with the state of its kind, its timers and its tasks", () => {
    const timers = [{ name: "deadline", arm: "a1", deadlineMs: 0n, method: "DeadlinePassed" }];
    const data = record({
      state: order,
      revision: 3n,
      timers,
      tasks: [{ id: "t-1", queue: "payment_capture", method: "CaptureSettled" }],
    });
    expect(decode(topology.record("order", "demo", "ord_1"), data)).toMatchObject({
      revision: "3",
      state: { customerId: "ada", total: "1299" },
      timers: [{ name: "deadline", deadline: "1970-01-01T00:00:00.000Z", body: {} }],
      tasks: [{ id: "t-1", queue: "payment_capture", method: "CaptureSettled", givenUp: false }],
    });
  });

  it("shows a commit with everything in it", () => {
    const commit = create(CommitSchema, {
      kind: CommitKind.COMMIT,
      epoch: 2n,
      records: [
        { kind: "order", tenant: "demo", key: "ord_1", record: record({ state: order }) },
        { kind: "order", tenant: "demo", key: "ord_0" },
      ],
      messages: [{ group: "core", log: 3, entry }],
      carry: [entry],
      tasks: [task],
      events: [
        { kind: "order", tenant: "demo", key: "ord_1", type: "x.Placed", json: Buffer.from('{"a":1}') },
      ],
      deadLetters: [{ id: "d-1", reason: "HANDLER_THREW", entry }],
    });
    expect(decode(topology.log("core", 0), toBinary(CommitSchema, commit))).toMatchObject({
      kind: "COMMIT_KIND_COMMIT",
      records: [
        { key: "ord_1", record: { state: { customerId: "ada" } } },
        { key: "ord_0", record: null },
      ],
      messages: [{ to: "core.3", entry: { method: "Release", body: { quantity: 2 } } }],
      carry: [{ body: { quantity: 2 } }],
      tasks: [{ body: { amount: "5" } }],
      events: [{ event: { a: 1 } }],
      deadLetters: [{ reason: "HANDLER_THREW", entry: { body: { quantity: 2 } } }],
    });
  });

  it("shows bundles, tasks, dead letters, marks, leases, pages of lists and events", () => {
    const bundle = toBinary(BundleSchema, create(BundleSchema, { entries: [entry] }));
    expect(decode(topology.inbox("core", 1), bundle)).toMatchObject({ entries: [{ body: { quantity: 2 } }] });
    expect(decode(topology.timer("core", 1, "order", "demo", "o", "a"), bundle)).toHaveProperty("entries");
    const taskData = toBinary(TaskSchema, create(TaskSchema, task));
    expect(decode(topology.task("payment_capture", "demo", "ord_1", "t-1"), taskData)).toMatchObject({
      id: "t-1",
    });
    const letter = toBinary(DeadLetterSchema, create(DeadLetterSchema, { id: "d-1", entry }));
    expect(decode(topology.dead("stock", "demo", "tea", "d-1"), letter)).toMatchObject({
      entry: { key: "tea" },
    });
    const mark = toBinary(MarkSchema, create(MarkSchema, { epoch: 4n, logSequence: 9n }));
    for (const subject of [topology.mark("core", 0), topology.eventMark("core", 0)])
      expect(decode(subject, mark)).toEqual({ epoch: "4", logSequence: "9" });
    const lease = toBinary(LeaseSchema, create(LeaseSchema, { worker: "w-1" }));
    expect(decode(topology.lease("core", "w-1"), lease)).toEqual({ worker: "w-1" });
    const page = toBinary(ListPageSchema, create(ListPageSchema, { page: 2, entries: [{ id: "ord_1" }] }));
    expect(decode(topology.record("list", "demo", "orders-0-2"), record({ state: page }))).toMatchObject({
      state: { page: 2, entries: [{ id: "ord_1" }] },
    });
    expect(decode(topology.event("demo", "order", "ord_1", "placed"), Buffer.from('{"x":[1]}'))).toEqual({
      x: [1],
    });
  });

  it("shows as base64 what this build does not know", () => {
    expect(decode(topology.record("comet", "demo", "x"), record({ state: order }))).toMatchObject({
      state: Buffer.from(order).toString("base64"),
    });
    expect(decode("other.subject", Buffer.from("abc"))).toBe("YWJj");
  });

  it("knows the subjects of other shards", () => {
    const shard = createTopology({ shard: "s2" });
    expect(formOf(shard.log("core", 1))).toBe("commit");
    expect(formOf(shard.event("demo", "order", "x", "placed"))).toBe("json");
    expect(formOf(shard.record("order", "demo", "x"))).toBe("record");
    expect(formOf(shard.lease("core", "w"))).toBe("lease");
  });

  it("finds kinds and rpcs by their names", () => {
    expect(stateOf("order")).toBe(OrderStateSchema);
    expect(inputOf("claim", "TakeSku")).toBe(ClaimActor.method.takeSku.input);
  });

  it("understands what to look at", () => {
    expect(targetOf(topology, "LOG", "42")).toEqual({ stream: "LOG", sequence: 42 });
    expect(targetOf(topology, "actors", "order.demo.o1")).toEqual({
      stream: "KV_actors",
      subject: topology.record("order", "demo", "o1"),
    });
    expect(targetOf(topology, "actors", undefined)).toEqual({ bucket: "actors" });
    expect(targetOf(topology, "ev.demo.>", undefined)).toEqual({ stream: "EVENTS", subject: "ev.demo.>" });
    expect(targetOf(topology, topology.lease("core", "w"), undefined)).toMatchObject({ stream: "KV_leases" });
    expect(() => targetOf(topology, "ORDERS", "1")).toThrow("there is no stream or bucket ORDERS");
    expect(() => targetOf(topology, "order", undefined)).toThrow("is no subject of ours");
  });
});
