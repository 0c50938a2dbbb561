import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type StringValue, StringValueSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { systemClock } from "../../../platform/clock.ts";
import { silentLogger } from "../../../platform/log.ts";
import { connectNats, type NatsConnection } from "../../../platform/nats.ts";
import type { NatsServer } from "../../../platform/nats-server/index.ts";
import { testServer } from "../../../platform/nats-server/testing.ts";
import { systemRandom } from "../../../platform/random.ts";
import {
  CreateProductReplySchema,
  ProductActor,
  ProductStateSchema,
} from "../../../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import {
  type Entry,
  type Outcome,
  OutcomeStatus,
  RecordSchema,
  TaskSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { createActorClient } from "./actor-client.ts";
import { ensureTopology } from "../bus/bootstrap-jetstream.ts";
import { createJetStreamBus } from "../bus/bus-jetstream.ts";
import { FakeOwner } from "./client-testing.ts";
import { defineTaskQueue, serveTasks, type TaskContext } from "../task-queue.ts";
import { startTaskWorker } from "../tasks/task-worker.ts";
import { createTopology } from "../topology.ts";

const WAIT = { timeout: 10_000, interval: 20 };
const topology = createTopology({ logs: 4 });
const log = silentLogger;

let server: NatsServer;
let close: (() => Promise<void> | void)[] = [];

beforeAll(async () => {
  server = await testServer({ syncInterval: "always" });
  const nc = await connect("bootstrap");
  await ensureTopology({ nc, topology, log });
});

afterEach(async () => {
  for (const one of close.reverse()) await one();
  close = [];
});

afterAll(async () => server.stop());

async function connect(name: string): Promise<NatsConnection> {
  const nc = await connectNats({ servers: server.url, name, log });
  close.push(() => nc.close());
  return nc;
}

async function connectBus(name: string) {
  const bus = createJetStreamBus({ nc: await connect(name), log });
  close.push(() => bus.close());
  return bus;
}

const created = (entry: Entry) => {
  const message = create(CreateProductReplySchema, { product: { sku: entry.key } });
  return { case: "reply" as const, value: toBinary(CreateProductReplySchema, message) };
};

async function world(answer: ConstructorParameters<typeof FakeOwner>[2] = created) {
  const owner = new FakeOwner(await connectBus("owner"), topology, answer);
  const bus = await connectBus("client");
  const client = createActorClient({ bus, clock: systemClock, random: systemRandom, topology, log });
  close.push(() => owner.close());
  close.push(() => client.close());
  return { owner, bus, client };
}

let tenant = "";
let tenants = 0;
beforeEach(() => {
  tenant = `tenant-${++tenants}`;
});

const call = (client: ReturnType<typeof createActorClient>, key: string, timeoutMs = 10_000) =>
  client.call(ProductActor.method.create, { tenant, key }, { sku: "tea" }, { requestId: key, timeoutMs });

it("sends many commands in few bundles and hears every answer", async () => {
  const { client, owner } = await world();
  const keys = Array.from({ length: 400 }, (_, index) => `p-${index}`);
  const results = await Promise.all(keys.map((key) => call(client, key)));
  expect(results.map(({ message }) => message.product?.sku)).toEqual(keys);
  expect(owner.bundleSizes.length).toBeLessThan(40);
});

it("loses no command over a kill of the server", async () => {
  const { client, owner } = await world();
  await call(client, "p-0");
  const keys = Array.from({ length: 50 }, (_, index) => `p-${index}`);
  const results = Promise.all(keys.map((key) => call(client, key, 20_000)));
  await server.kill();
  const late = Promise.all(keys.map((key) => call(client, `late-${key}`, 20_000)));
  await server.restart();
  expect(await results).toHaveLength(50);
  expect(await late).toHaveLength(50);
  const mine = owner.entries.filter((entry) => entry.tenant === tenant);
  expect(new Set(mine.map(({ key }) => key)).size).toBe(100);
});

it("reads the owner, and the bucket when there is none", async () => {
  const { client, owner } = await world();
  const state = toBinary(ProductStateSchema, create(ProductStateSchema, { name: "tea" }));
  const record = create(RecordSchema, { state, revision: 1n });
  owner.keep("product", tenant, "p-1", record);
  const address = { tenant, key: "p-1" };
  const read = await client.read("product", ProductStateSchema, address);
  expect(read).toMatchObject({ state: { name: "tea" }, asOfMs: undefined });
  await owner.project("product", tenant, "p-1", record, owner.sequence);
  owner.close();
  const old = await client.read("product", ProductStateSchema, address);
  expect(old.state?.name).toBe("tea");
  expect(old.asOfMs).toBeGreaterThan(1_700_000_000_000);
  expect(await client.scan("product", ProductStateSchema, tenant, "p-", 10)).toHaveLength(1);
});

it("tells every change after `ready`, also over a kill of the server", async () => {
  const { client, owner } = await world();
  const names: string[] = [];
  const watch = client.watch("product", ProductStateSchema, tenant, "p-1", ({ state }) =>
    names.push(state?.name ?? ""),
  );
  await watch.ready;
  const project = (name: string) => {
    const state = toBinary(ProductStateSchema, create(ProductStateSchema, { name }));
    return owner.project("product", tenant, "p-1", create(RecordSchema, { state, revision: 1n }), 1n);
  };
  await project("one");
  await vi.waitFor(() => expect(names).toEqual(["one"]), WAIT);
  await server.kill();
  await server.restart();
  await vi.waitFor(async () => {
    await project("two");
    expect(names.at(-1)).toBe("two");
  }, WAIT);
});

it("goes over from stored events to new ones", async () => {
  const { client, bus } = await world();
  const emit = (at: number) =>
    bus.append({
      subject: topology.event(tenant, "product", "p-1", "created"),
      data: new TextEncoder().encode(JSON.stringify({ at })),
      headers: { "Tw-Log": `core.${tenant}`, "Tw-Seq": `${at}.0`, "Tw-Type": "x.Created" },
    });
  for (let at = 1; at <= 300; at++) await emit(at);
  const seen: number[] = [];
  client.watchEvents(tenant, 1, ({ json }) => seen.push((JSON.parse(json) as { at: number }).at));
  for (let at = 301; at <= 600; at++) await emit(at);
  await vi.waitFor(() => expect(seen).toHaveLength(600), WAIT);
  expect(seen).toEqual(Array.from({ length: 600 }, (_, index) => index + 1));
  expect(await client.history("product", { tenant, key: "p-1" })).toHaveLength(600);
});

async function taskWorld(
  handle: (message: StringValue, context: TaskContext) => Promise<{ value: string }>,
  retry: { delayMsMin: number; attemptsMax: number },
) {
  const { owner, bus } = await world(() => undefined);
  const queue = defineTaskQueue({
    name: tenant,
    input: StringValueSchema,
    output: StringValueSchema,
    retry: { delayMsMax: 60_000, timeoutMs: 10_000, deadlineMs: Infinity, ...retry },
  });
  // The longest rest that the jitter leaves.
  const random = { ...systemRandom, float: () => 0.999 };
  const services = [serveTasks(queue, handle)];
  const worker = startTaskWorker({
    bus: await connectBus("tasks"),
    clock: systemClock,
    random,
    topology,
    log,
    services,
  });
  close.push(() => worker.stop());
  const send = (id: string) => {
    const body = toBinary(StringValueSchema, create(StringValueSchema, { value: id }));
    const task = create(TaskSchema, { id, queue: tenant, kind: "product", tenant, key: "p-1", body });
    return bus.append({
      subject: topology.task(tenant, tenant, "p-1", id),
      data: toBinary(TaskSchema, task),
      messageId: id,
    });
  };
  const outcomes = () =>
    owner.entries
      .filter((entry) => entry.tenant === tenant)
      .map((entry) => ({
        ...(entry.source.value as Outcome),
        result: fromBinary(StringValueSchema, entry.body).value,
      }));
  return { send, outcomes, worker };
}

it("serves tasks at a rate of its own, each once", async () => {
  const { send, outcomes } = await taskWorld(async ({ value }) => ({ value: `${value}!` }), {
    delayMsMin: 100,
    attemptsMax: 3,
  });
  const ids = Array.from({ length: 300 }, (_, index) => `t-${tenant}-${index}`);
  await Promise.all(ids.map(send));
  await vi.waitFor(() => expect(outcomes()).toHaveLength(300), WAIT);
  expect(new Set(outcomes().map(({ task }) => task)).size).toBe(300);
  expect(outcomes().every(({ status }) => status === OutcomeStatus.DONE)).toBe(true);
});

it("keeps the count of attempts over short and long rests", async () => {
  const attempts: number[] = [];
  const fail = async (_: StringValue, { attempt }: TaskContext) => {
    attempts.push(attempt);
    throw new Error("provider is down");
  };
  // Rests of 3 s (a delayed nak), then of 6 s (a schedule).
  const { send, outcomes } = await taskWorld(fail, { delayMsMin: 3_000, attemptsMax: 3 });
  await send(`t-${tenant}`);
  await vi.waitFor(() => expect(outcomes()).toHaveLength(1), { timeout: 20_000, interval: 50 });
  expect(attempts).toEqual([1, 2, 3]);
  expect(outcomes()).toMatchObject([
    { status: OutcomeStatus.GAVE_UP, attempts: 3, error: "provider is down" },
  ]);
});
