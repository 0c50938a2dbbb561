import { expect, it } from "vitest";
import { silentLogger } from "../../../platform/log.ts";
import { seededRandom } from "../../../platform/random.ts";
import {
  SampleActor,
  SampleStateSchema,
} from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import { createActorClient } from "./actor-client.ts";
import { MemoryNats } from "../bus/bus-memory.ts";
import type { StoredEvent } from "../client.ts";
import { HandClock } from "./client-testing.ts";
import { sampleActor } from "../sample.ts";
import { createTopology } from "../topology.ts";
import { startWorker } from "../worker/worker.ts";

/** A client and a real worker on the memory bus. */
async function clientAndWorker() {
  const clock = new HandClock();
  const random = seededRandom(11);
  const nats = new MemoryNats({ clock, random });
  const topology = createTopology();
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
  return { clock, nats, client, finish, open };
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
