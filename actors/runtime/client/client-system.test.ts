import { expect, it } from "vitest";
import { silentLogger } from "../../../platform/log.ts";
import { seededRandom } from "../../../platform/random.ts";
import {
  DepositedSchema,
  SampleActor,
  SampleStateSchema,
} from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import { createActorClient } from "./actor-client.ts";
import { MemoryNats } from "../bus/bus-memory.ts";
import type { StoredEvent } from "../client.ts";
import { HandClock } from "./client-testing.ts";
import { LIMITS } from "../limits.ts";
import { sampleActor } from "../sample.ts";
import { createTopology } from "../topology.ts";
import { startWorker } from "../worker/worker.ts";

/** A client and a real worker on the memory bus. */
async function clientAndWorker() {
  const clock = new HandClock();
  const random = seededRandom(11);
  const nats = new MemoryNats({ clock, random });
  const topology = createTopology({ logs: 4 });
  nats.ensure(topology);
  const base = { clock, random, topology, log: silentLogger };
  const workerOptions = { ...base, actors: [sampleActor], projections: [], group: "core" };
  const worker = startWorker({ ...workerOptions, bus: nats.connect("w1"), workerId: "w1" });
  const client = createActorClient({ ...base, bus: nats.connect("client") });
  for (let i = 0; i < 200 && worker.owned().length < 4; i++) await clock.pass(50);
  const finish = async <T>(work: Promise<T>): Promise<T> => {
    let isDone = false;
    const watched = work.finally(() => (isDone = true));
    for (let i = 0; i < 400 && !isDone; i++) await clock.pass(50);
    return watched;
  };
  const open = (key: string) =>
    client.call(
      SampleActor.method.open,
      { tenant: "demo", key },
      { amount: 5n },
      { requestId: key, timeoutMs: 15_000 },
    );
  return { clock, nats, topology, client, finish, open };
}

type Setup = Awaited<ReturnType<typeof clientAndWorker>>;

/** All ids of the list, newest first, read page by page. */
async function listed({ client, finish }: Setup, pageSize: number): Promise<readonly string[]> {
  const found: string[] = [];
  let after: { createdMs: number; id: string } | undefined;
  do {
    const page = await finish(client.list("demo", "accounts", after, pageSize, () => true));
    found.push(...page.entries.map(({ id }) => id));
    after = page.next;
  } while (after !== undefined);
  return found;
}

it("pages through a list that real owners keep, newest first and with its own writes", async () => {
  const { client, finish, open, clock } = await clientAndWorker();
  const keys: string[] = [];
  for (let round = 0; round < 20; round++) {
    const more = Array.from({ length: 40 }, (_, index) => `a-${round}-${index}`);
    keys.push(...more);
    await finish(Promise.all(more.map(open)));
    await clock.pass(10);
  }
  const found: { id: string; createdMs: bigint }[] = [];
  let after: { createdMs: number; id: string } | undefined;
  do {
    const page = await finish(client.list("demo", "accounts", after, 75, () => true));
    found.push(...page.entries);
    after = page.next;
  } while (after !== undefined);
  expect(found.map(({ id }) => id).sort()).toEqual(keys.sort());
  const times = found.map(({ createdMs }) => createdMs);
  expect(times).toEqual(times.toSorted((a, b) => Number(b - a)));
});

it("tells each state and each event of an actor, and keeps its history", async () => {
  const { client, finish, open, clock } = await clientAndWorker();
  const balances: bigint[] = [];
  const events: StoredEvent[] = [];
  const watch = client.watch("sample", SampleStateSchema, "demo", "a", ({ state }) =>
    balances.push(state?.balance ?? -1n),
  );
  await finish(watch.ready);
  client.watchEvents("demo", 1, (event) => events.push(event));
  await finish(open("a"));
  await clock.pass(200);
  const options = { requestId: "more", timeoutMs: 15_000 };
  await finish(
    client.call(SampleActor.method.deposit, { tenant: "demo", key: "a" }, { amount: 7n }, options),
  );
  await clock.pass(200);
  expect(balances).toEqual([5n, 12n]);
  expect(events.length).toBeGreaterThan(0);
  expect(await finish(client.history("sample", { tenant: "demo", key: "a" }))).toEqual(events);
});

it("takes entries from the oldest pages of a list: what stays moves on, and paging sees it", async () => {
  const setup = await clientAndWorker();
  const { client, clock, finish, nats, open, topology } = setup;
  for (let round = 0; round < 10; round++) {
    await finish(Promise.all(Array.from({ length: 40 }, (_, index) => open(`a-${round}-${index}`))));
    await clock.pass(10);
  }
  await clock.pass(1_000);
  const all = await listed(setup, 500);
  const gone = new Set<string>();
  for (let log = 0; log < 4; log++) {
    const pages = await finish(client.oldestPages("demo", "accounts", log, 0, 100));
    expect(pages.map(({ page }) => page)).toEqual(pages.map((_, index) => index));
    for (const { page, entries } of pages.slice(0, 3)) {
      const ids = entries.map(({ id }) => id).filter((id) => !id.endsWith("-7"));
      await finish(client.trimList("demo", "accounts", log, { page, ids }));
      await finish(client.trimList("demo", "accounts", log, { page, ids: all })); // a repeat, or another run
      for (const id of ids) gone.add(id);
    }
    for (const page of [4, pages.length - 1, 99])
      // in the middle, the open one, none
      await finish(client.trimList("demo", "accounts", log, { page, ids: all }));
    const rest = await finish(client.oldestPages("demo", "accounts", log, 0, 100));
    expect(rest.map(({ page }) => page)).toEqual(pages.slice(3).map(({ page }) => page));
  }
  await clock.pass(1_000);
  const left = all.filter((id) => !gone.has(id));
  expect(gone.size).toBeGreaterThan(150);
  for (const pageSize of [500, 13, 1]) expect(await listed(setup, pageSize)).toEqual(left);
  const bus = nats.connect("look");
  const page = topology.record("list", "demo", "accounts-0-0");
  expect((await bus.last(topology.streams.actors, page))?.headers).toMatchObject({ "KV-Operation": "DEL" });
  await clock.pass(LIMITS.removedTtlSeconds * 1_000 + 100);
  expect(await bus.last(topology.streams.actors, page)).toBeUndefined();
  expect(await finish(client.tenantsOf("accounts"))).toEqual(["demo"]);
  expect(await finish(client.tenantsOf("orders"))).toEqual([]);
}, 30_000);

it("misses nothing that a trim has moved, before the bucket knows of it", async () => {
  const setup = await clientAndWorker();
  const { client, clock, finish, open } = setup;
  for (let first = 0; first < 300; first += 50) {
    await finish(Promise.all(Array.from({ length: 50 }, (_, index) => open(`c-${first + index}`))));
    await clock.pass(10);
  }
  await clock.pass(1_000);
  const all = await listed(setup, 500);
  const gone = new Set<string>();
  for (let log = 0; log < 4; log++) {
    const [oldest] = await finish(client.oldestPages("demo", "accounts", log, 0, 1));
    const ids = (oldest?.entries ?? []).map(({ id }) => id).slice(0, 3);
    for (const id of ids) gone.add(id);
    await finish(client.trimList("demo", "accounts", log, { page: 0, ids }));
  }
  expect(await listed(setup, 500)).toEqual(all.filter((id) => !gone.has(id)));
}, 30_000);

it("empties a list but for its open pages, and goes on with it", async () => {
  const setup = await clientAndWorker();
  const { client, clock, finish, open } = setup;
  const openSome = async (round: number) => {
    for (let first = 0; first < 100; first += 20) {
      await finish(
        Promise.all(Array.from({ length: 20 }, (_, index) => open(`b-${round}-${first + index}`))),
      );
      await clock.pass(10);
    }
  };
  await openSome(0);
  const all = await listed(setup, 500);
  const stays = new Set(["b-0-3", "b-0-4"]);
  const openIds: string[] = [];
  for (let log = 0; log < 4; log++) {
    const pages = await finish(client.oldestPages("demo", "accounts", log, 0, 100));
    for (const { page } of pages) {
      const ids = all.filter((id) => !stays.has(id));
      await finish(client.trimList("demo", "accounts", log, { page, ids }));
    }
    openIds.push(...(pages.at(-1)?.entries ?? []).map(({ id }) => id));
  }
  await clock.pass(1_000);
  const left = all.filter((id) => stays.has(id) || openIds.includes(id));
  expect(new Set(await listed(setup, 7))).toEqual(new Set(left));
  await openSome(1);
  const more = Array.from({ length: 100 }, (_, index) => `b-1-${index}`);
  for (const pageSize of [500, 7]) {
    const found = await listed(setup, pageSize);
    expect(found).toHaveLength(left.length + more.length);
    expect(new Set(found)).toEqual(new Set([...left, ...more]));
  }
}, 30_000);

it("finds the newest event of a type", async () => {
  const { client, finish, open, clock } = await clientAndWorker();
  const address = { tenant: "demo", key: "a" };
  expect(await finish(client.lastEvent("sample", address, DepositedSchema))).toBeUndefined();
  await finish(open("a"));
  const options = { requestId: "more", timeoutMs: 15_000 };
  await finish(client.call(SampleActor.method.deposit, address, { amount: 7n }, options));
  await clock.pass(200);
  const event = await finish(client.lastEvent("sample", address, DepositedSchema));
  expect(event).toMatchObject({ key: "a", json: '{"amount":"7"}' });
});
