import { create, toBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import {
  CreateProductReplySchema,
  ProductActor,
  ProductStateSchema,
  ProductStatus,
} from "../../../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import {
  type Entry,
  ListPageSchema,
  RecordSchema,
  RefusalSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { clientWorld, settle } from "./client-testing.ts";
import { LIMITS } from "../limits.ts";

const NAME = { requestId: "r-1", timeoutMs: 5_000 };
const { create: createProduct } = ProductActor.method;

const created = (entry: Entry) => {
  const product = { sku: entry.key, status: ProductStatus.ACTIVE };
  const message = create(CreateProductReplySchema, { status: ProductStatus.ACTIVE, product });
  return { case: "reply" as const, value: toBinary(CreateProductReplySchema, message) };
};

/** Settles now, so that nothing is unhandled while time passes. */
async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    return await work;
  } catch (error) {
    return error;
  }
}

function record(name: string, revision = 1n) {
  const state = toBinary(ProductStateSchema, create(ProductStateSchema, { name }));
  return create(RecordSchema, { state, revision, nowMs: 5n, createdMs: 3n });
}

it("answers a command with the actor's reply", async () => {
  const { client } = clientWorld(created);
  const { message, replayed } = await client.call(
    createProduct,
    { tenant: "acme", key: "p-1" },
    { sku: "tea" },
    NAME,
  );
  expect(message.product?.sku).toBe("p-1");
  expect(replayed).toBe(false);
  await client.close();
});

it("throws the actor's refusal with its reason", async () => {
  const value = create(RefusalSchema, {
    reason: "ALREADY_EXISTS",
    message: "it is there",
    metadata: { id: "p-1" },
  });
  const { client } = clientWorld(() => ({ case: "refusal", value }));
  const call = client.call(createProduct, { tenant: "acme", key: "p-1" }, { sku: "tea" }, NAME);
  await expect(call).rejects.toMatchObject({
    name: "DomainError",
    reason: "ALREADY_EXISTS",
    metadata: { id: "p-1" },
  });
});

it("reports a dead letter as a defect", async () => {
  const { client } = clientWorld(() => ({ case: "deadLetter", value: "dl-1" }));
  const call = client.call(createProduct, { tenant: "acme", key: "p-1" }, { sku: "tea" }, NAME);
  await expect(call).rejects.toMatchObject({ name: "CallError", kind: "defect" });
});

it("sends commands of one turn as one bundle per log", async () => {
  const { client, owner } = clientWorld(created);
  const keys = Array.from({ length: 100 }, (_, index) => `p-${index}`);
  await Promise.all(
    keys.map((key) => client.call(createProduct, { tenant: "acme", key }, {}, { ...NAME, requestId: key })),
  );
  expect(owner.entries).toHaveLength(100);
  expect(owner.bundleSizes).toHaveLength(4);
});

it("names the actor of a lonely command in its headers", async () => {
  const { client, nats, topology } = clientWorld(created);
  const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  await client.call(createProduct, { tenant: "acme", key: "p-1" }, {}, { ...NAME, trace });
  const [stored] = nats.inspect(topology.streams.inbox);
  expect(stored?.headers).toMatchObject({
    "Tw-Kind": "product",
    "Tw-Tenant": "acme",
    "Tw-Key": "p-1",
    "Tw-Type": "Create",
    traceparent: trace,
  });
});

it("asks again with the same request when it hears nothing for a second", async () => {
  let isSilent = true;
  const { client, owner, clock } = clientWorld((entry) => (isSilent ? undefined : created(entry)));
  const call = client.call(createProduct, { tenant: "acme", key: "p-1" }, { sku: "tea" }, NAME);
  await clock.pass(900);
  expect(owner.entries).toHaveLength(1);
  isSilent = false;
  await clock.pass(300);
  await call;
  const [first, second] = owner.entries;
  expect(owner.entries).toHaveLength(2);
  expect(second?.source).toEqual(first?.source);
});

it("waits longer before it asks again while the log is behind", async () => {
  const { client, owner, clock, topology } = clientWorld();
  const log = topology.logOf("core", "acme", "p-1");
  owner.sayLoad(log, 1_500);
  await settle();
  const call = client.call(createProduct, { tenant: "acme", key: "p-1" }, {}, { ...NAME, timeoutMs: 2_400 });
  const failure = failureOf(call);
  await clock.pass(2_450);
  expect(owner.entries).toHaveLength(1);
  expect(await failure).toMatchObject({ kind: "timeout" });
});

it("times out, and takes no late answer", async () => {
  const { client, clock } = clientWorld();
  const call = client.call(createProduct, { tenant: "acme", key: "p-1" }, {}, { ...NAME, timeoutMs: 300 });
  const failure = failureOf(call);
  await clock.pass(400);
  expect(await failure).toMatchObject({ name: "CallError", kind: "timeout" });
});

it("ends a call when its signal is aborted", async () => {
  const { client } = clientWorld();
  const { signal, abort } = { ...controller() };
  const call = client.call(createProduct, { tenant: "acme", key: "p-1" }, {}, { ...NAME, signal });
  abort("gone");
  await expect(call).rejects.toBe("gone");
});

function controller() {
  const control = new AbortController();
  return { signal: control.signal, abort: (reason: string) => control.abort(reason) };
}

it("refuses more calls than may wait", async () => {
  const { client, clock } = clientWorld();
  const calls = Array.from({ length: LIMITS.callsInFlightMax }, (_, index) =>
    client
      .call(createProduct, { tenant: "acme", key: `p-${index}` }, {}, { ...NAME, timeoutMs: 200 })
      .catch(() => 1),
  );
  const late = client.call(createProduct, { tenant: "acme", key: "p-x" }, {}, NAME);
  await expect(late).rejects.toMatchObject({ kind: "overloaded" });
  await clock.pass(300);
  expect(await Promise.all(calls)).toHaveLength(LIMITS.callsInFlightMax);
});

it("stores a bundle once when the answer to its publish is lost", async () => {
  let isLost = true;
  const { client, clock, owner } = clientWorld(created, {
    operation: ({ kind }) => {
      if (kind !== "append" || !isLost) return undefined;
      isLost = false;
      return { isReplyLost: true };
    },
    delivery: () => undefined,
    staleChanges: () => 0,
    firesAgainAfterMs: () => undefined,
  });
  const call = client.call(createProduct, { tenant: "acme", key: "p-1" }, {}, NAME);
  await clock.pass(4_000);
  await call;
  expect(owner.entries).toHaveLength(1);
});

it("reads records through their owner, many with one question per log", async () => {
  const { client, owner } = clientWorld();
  const keys = Array.from({ length: 40 }, (_, index) => `p-${index}`);
  for (const key of keys) owner.keep("product", "acme", key, record(key));
  const reads = await client.readMany("product", ProductStateSchema, "acme", [...keys, "none"]);
  expect(reads.get("p-7")).toMatchObject({
    state: { name: "p-7" },
    revision: 1n,
    createdMs: 3,
    updatedMs: 5,
  });
  expect(reads.get("none")?.state).toBeUndefined();
  expect(reads.get("p-7")?.asOfMs).toBeUndefined();
  expect(owner.questions).toBe(4);
});

it("reads the bucket when no owner answers, and says how old it is", async () => {
  const { client, owner, clock } = clientWorld();
  await owner.project("product", "acme", "p-1", record("tea"), 7n);
  const projectedMs = clock.nowMs();
  owner.close();
  const read = client.read("product", ProductStateSchema, { tenant: "acme", key: "p-1" });
  await clock.pass(1_000);
  expect(await read).toMatchObject({ state: { name: "tea" }, asOfMs: projectedMs });
});

it("never reads a state older than what it has seen of the log (J23)", async () => {
  const { client, owner, clock } = clientWorld(created);
  await client.call(createProduct, { tenant: "acme", key: "p-1" }, {}, NAME);
  const seen = owner.sequence;
  await owner.project("product", "acme", "p-1", record("old"), seen - 1n);
  owner.close();
  const read = client.read("product", ProductStateSchema, { tenant: "acme", key: "p-1" }, 900);
  const failure = failureOf(read);
  await clock.pass(3_000);
  expect(await failure).toMatchObject({ kind: "timeout" });
  await owner.project("product", "acme", "p-1", record("new"), seen);
  const again = client.read("product", ProductStateSchema, { tenant: "acme", key: "p-1" }, 900);
  await clock.pass(3_000);
  expect(await again).toMatchObject({ state: { name: "new" } });
});

it("scans the records of a tenant by the beginning of their keys", async () => {
  const { client, owner } = clientWorld();
  for (const key of ["a-2", "a-1", "b-1"]) await owner.project("product", "acme", key, record(key), 7n);
  await owner.project("product", "other", "a-3", record("a-3"), 7n);
  const found = await client.scan("product", ProductStateSchema, "acme", "a-", 10);
  expect(found.map(({ key }) => key)).toEqual(["a-1", "a-2"]);
});

it("tells watchers of one actor and of all of a tenant what changes", async () => {
  const { client, owner, nats } = clientWorld();
  const one: string[] = [];
  const all: string[] = [];
  const watch = client.watch("product", ProductStateSchema, "acme", "p-1", ({ state }) =>
    one.push(state?.name ?? "-"),
  );
  const other = client.watch("product", ProductStateSchema, "acme", undefined, ({ key }) => all.push(key));
  await watch.ready;
  await owner.project("product", "acme", "p-1", record("tea"), 7n);
  await owner.project("product", "acme", "p-2", record("cup"), 8n);
  await owner.project("product", "other", "p-1", record("not mine"), 9n);
  await settle();
  await nats.connect("x").append({ subject: "$KV.actors.product.acme.p-1", data: new Uint8Array(0) });
  await settle();
  expect(one).toEqual(["tea", "-"]);
  expect(all).toEqual(["p-1", "p-2", "p-1"]);
  watch.close();
  other.close();
  await owner.project("product", "acme", "p-1", record("late"), 10n);
  await settle();
  expect(one).toHaveLength(2);
  await client.close();
});

it("walks a list newest first over all logs, its own writes included", async () => {
  const { client, owner } = clientWorld();
  const expected: string[] = [];
  for (let log = 0; log < 4; log++) {
    const page = (number: number, from: number, count: number) => {
      const entries = Array.from({ length: count }, (_, index) => {
        const at = (from + index) * 4 + log;
        expected.push(`o-${String(at).padStart(4, "0")}`);
        return {
          id: `o-${String(at).padStart(4, "0")}`,
          createdMs: BigInt(at),
          fields: { even: String(at % 2 === 0) },
        };
      });
      const state = toBinary(ListPageSchema, create(ListPageSchema, { page: number, entries }));
      return create(RecordSchema, { state, revision: 1n });
    };
    for (let number = 0; number < 30; number++) {
      await owner.project("list", "acme", `orders-${log}-${number}`, page(number, number * 10, 10), 7n);
    }
    owner.keep("list", "acme", `orders-${log}-head`, page(30, 300, 5));
  }
  expected.sort().reverse();
  const found: string[] = [];
  let after: { createdMs: number; id: string } | undefined;
  do {
    const result = await client.list("acme", "orders", after, 97, () => true);
    found.push(...result.entries.map(({ id }) => id));
    after = result.next;
  } while (after !== undefined);
  expect(found).toEqual(expected);
  const even = await client.list("acme", "orders", undefined, 5, ({ fields }) => fields["even"] === "true");
  expect(even.entries.map(({ id }) => id)).toEqual(
    expected.filter((id) => Number(id.slice(2)) % 2 === 0).slice(0, 5),
  );
});

it("walks a list whose entries of one commit, with one time, fill many pages", async () => {
  const { client, owner } = clientWorld();
  const size = 16;
  // 37 and 320 have no common divisor: every id once, in no order.
  const ids = Array.from({ length: 20 * size }, (_, index) => String((index * 37) % 320).padStart(4, "0"));
  const page = (number: number) => {
    const entries = ids
      .slice(number * size, (number + 1) * size)
      .map((id) => ({ id, createdMs: 1_000n, fields: {} }));
    const state = toBinary(ListPageSchema, create(ListPageSchema, { page: number, entries }));
    return create(RecordSchema, { state, revision: 1n });
  };
  for (let number = 0; number < 19; number++)
    await owner.project("list", "acme", `orders-0-${number}`, page(number), 7n);
  owner.keep("list", "acme", "orders-0-head", page(19));
  const found: string[] = [];
  let after: { createdMs: number; id: string } | undefined;
  do {
    const result = await client.list("acme", "orders", after, 50, () => true);
    found.push(...result.entries.map(({ id }) => id));
    after = result.next;
  } while (after !== undefined);
  expect(found).toEqual(ids.toSorted().reverse());
});

it("stops taking commands at once when an owner at work does not keep up with this client", async () => {
  const { client, owner, clock, topology } = clientWorld();
  const address = { tenant: "acme", key: "p-1" };
  const log = topology.logOf("core", address.tenant, address.key);
  for (const requestId of ["r-1", "r-2"]) {
    void failureOf(client.call(createProduct, address, { sku: "tea" }, { requestId, timeoutMs: 5_000 }));
    await settle();
  }
  await clock.pass(LIMITS.inboxAgeMsMax + 43);
  expect(client.refusal()).toBeUndefined(); // who says nothing may be changing hands
  owner.sayLoad(log, 0, 1);
  await settle();
  expect(client.refusal()).toMatchObject({
    reason: `log core.${log} is ${LIMITS.inboxAgeMsMax + 50} ms behind`,
    retryAfterMs: LIMITS.inboxAgeMsMax + 50,
  });
  owner.sayLoad(log, 0, 2);
  await settle();
  expect(client.refusal()).toBeUndefined();
  await client.close();
});

it("stops taking commands while a log is behind, the store is full or NATS is gone", async () => {
  const { client, owner, clock, nats, topology } = clientWorld();
  expect(client.refusal()).toBeUndefined();
  owner.sayLoad(2, LIMITS.backlogAgeMsMax + 700);
  await settle();
  expect(client.refusal()).toMatchObject({ retryAfterMs: 1_000 });
  expect(client.loads()).toMatchObject([{ group: "core", log: 2 }]);
  owner.sayLoad(2, 10);
  await settle();
  expect(client.refusal()).toBeUndefined();
  nats.setBytesMax(topology.streams.log, 100);
  await clock.pass(1_100);
  expect(client.refusal()?.reason).toContain("full");
  nats.setBytesMax(topology.streams.log, Infinity);
  await clock.pass(1_100);
  expect(client.refusal()).toBeUndefined();
  await clock.pass(5_000);
  expect(client.loads()).toEqual([]);
  nats.stop();
  expect(client.refusal()?.reason).toContain("no connection");
  await client.close();
});
