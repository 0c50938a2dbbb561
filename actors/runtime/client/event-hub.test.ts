import { create, toBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { silentLogger } from "../../../platform/log.ts";
import {
  DeadLetterSchema,
  EntrySchema,
  RequestSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { createActorClient } from "./actor-client.ts";
import type { Bus } from "../bus/bus.ts";
import type { StoredEvent } from "../client.ts";
import { clientWorld, settle, altered } from "./client-testing.ts";

function eventWorld() {
  const world = clientWorld();
  const bus = world.nats.connect("projector");
  const emit = (tenant: string, key: string, at: number, name = "created") =>
    bus.append({
      subject: world.topology.event(tenant, "product", key, name),
      data: new TextEncoder().encode(JSON.stringify({ at })),
      headers: {
        "Tw-Type": "tradewind.Created",
        "Tw-Log": `core.${world.topology.logOf("core", tenant, key)}`,
        "Tw-Seq": `${at}.0`,
        "Tw-Time": "12",
      },
    });
  return { ...world, emit };
}

const places = (events: readonly StoredEvent[]) =>
  events.map(({ json }) => (JSON.parse(json) as { at: number }).at);

it("tells watchers of a tenant its new events, repeats left out (J15)", async () => {
  const { client, emit, nats, topology } = eventWorld();
  await emit("acme", "p-1", 1);
  const events: StoredEvent[] = [];
  const watch = client.watchEvents("acme", undefined, (event) => events.push(event));
  await watch.ready;
  await emit("acme", "p-1", 2);
  await emit("other", "p-1", 3);
  await emit("acme", "p-1", 2);
  await nats.connect("x").append({ subject: topology.eventMark("core", 1), data: new Uint8Array(1) });
  await emit("acme", "p-1", 4);
  await settle();
  expect(places(events)).toEqual([2, 4]);
  expect(events[0]).toMatchObject({
    tenant: "acme",
    kind: "product",
    key: "p-1",
    type: "tradewind.Created",
    atMs: 12,
  });
  watch.close();
  await emit("acme", "p-1", 5);
  await settle();
  expect(events).toHaveLength(2);
});

it("goes over from stored events to new ones without gap or repeat, however many come meanwhile", async () => {
  const { client, emit } = eventWorld();
  for (let at = 1; at <= 700; at++) await emit("acme", "p-1", at);
  const events: StoredEvent[] = [];
  client.watchEvents("acme", 101, (event) => events.push(event));
  for (let at = 701; at <= 2_500; at++) {
    await emit("acme", "p-1", at);
    if (at % 100 === 0) await emit("acme", "p-1", at);
  }
  await settle();
  await emit("acme", "p-1", 2_501);
  await settle();
  expect(places(events)).toEqual(Array.from({ length: 2_401 }, (_, index) => 101 + index));
});

it("leaves no gap where a replica that lags answers", async () => {
  const { emit, nats, clock, random, topology } = eventWorld();
  for (let at = 1; at <= 5; at++) await emit("acme", "p-1", at);
  const bus = nats.connect("late");
  const behind = [0, 0, 3, 5];
  const range: Bus["range"] = async (...args) => {
    const found = await bus.range(...args);
    const upTo = behind.shift();
    return upTo === undefined ? found : found.slice(0, upTo);
  };
  const client = createActorClient({
    bus: altered(bus, { range }),
    clock,
    random,
    topology,
    log: silentLogger,
  });
  const events: StoredEvent[] = [];
  client.watchEvents("acme", 1, (event) => events.push(event));
  for (let i = 0; i < 10; i++) await clock.pass(100);
  await emit("acme", "p-1", 6);
  await settle();
  expect(places(events)).toEqual([1, 2, 3, 4, 5, 6]);
});

it("returns the stored events of one actor in order", async () => {
  const { client, emit } = eventWorld();
  for (let at = 1; at <= 600; at++) await emit("acme", at % 2 === 0 ? "p-1" : "p-2", at);
  await emit("acme", "p-1", 600);
  const events = await client.history("product", { tenant: "acme", key: "p-1" });
  expect(places(events)).toEqual(Array.from({ length: 300 }, (_, index) => 2 + index * 2));
});

async function deadLetterWorld() {
  const world = clientWorld();
  const bus = world.nats.connect("owner-2");
  for (const [index, tenant] of ["acme", "acme", "other"].entries()) {
    const id = `dl-${index}`;
    const value = create(RequestSchema, { id: "r-1", replyTo: "reply.x", correlation: 3n });
    const body = new Uint8Array([1, 2]);
    const source = { case: "request" as const, value };
    const entry = create(EntrySchema, {
      kind: "product",
      tenant,
      key: "p-1",
      method: "Create",
      body,
      source,
    });
    const letter = create(DeadLetterSchema, {
      id,
      reason: "HANDLER_FAILED",
      error: "it threw",
      entry,
      atMs: 9n,
    });
    await bus.append({
      subject: world.topology.dead("product", tenant, "p-1", id),
      data: toBinary(DeadLetterSchema, letter),
    });
  }
  return world;
}

it("lists and shows dead letters", async () => {
  const { client } = await deadLetterWorld();
  const all = await client.listDeadLetters(undefined, 10);
  expect(all.map(({ id, tenant }) => `${id} ${tenant}`)).toEqual(["dl-0 acme", "dl-1 acme", "dl-2 other"]);
  const next = await client.listDeadLetters("acme", 10, all[0]?.sequence);
  expect(next.map(({ id }) => id)).toEqual(["dl-1"]);
  expect(await client.getDeadLetter("dl-1")).toMatchObject({
    kind: "product",
    key: "p-1",
    method: "Create",
    reason: "HANDLER_FAILED",
    error: "it threw",
    atMs: 9,
  });
  expect(await client.getDeadLetter("nothing")).toBeUndefined();
  expect(await client.getDeadLetter(">")).toBeUndefined();
});

it("sends a dead letter's message again under the letter's id, and nobody is answered", async () => {
  const { client, owner, nats, topology } = await deadLetterWorld();
  expect(await client.redriveDeadLetter("dl-1")).toBe(true);
  await settle();
  expect(owner.entries).toMatchObject([
    {
      method: "Create",
      redrive: { deadLetter: "dl-1" },
      source: { case: "request", value: { id: "r-1", replyTo: "" } },
    },
  ]);
  expect(nats.inspect(topology.streams.dead)).toHaveLength(2);
  expect(await client.redriveDeadLetter("dl-1")).toBe(false);
});

it("discards one dead letter", async () => {
  const { client, nats, topology } = await deadLetterWorld();
  expect(await client.discardDeadLetter("dl-2")).toBe(true);
  expect(await client.discardDeadLetter("dl-2")).toBe(false);
  expect(nats.inspect(topology.streams.dead)).toHaveLength(2);
});
