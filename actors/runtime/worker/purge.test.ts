import { expect, it } from "vitest";
import { silentLogger } from "../../../platform/log.ts";
import { seededRandom } from "../../../platform/random.ts";
import {
  SampleActor,
  SampleTotalsSchema,
} from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import { MemoryNats } from "../bus/bus-memory.ts";
import { createActorClient } from "../client/actor-client.ts";
import { HandClock } from "../client/client-testing.ts";
import { LIMITS } from "../limits.ts";
import { sampleActor, sampleProjection } from "../sample.ts";
import { createTopology } from "../topology.ts";
import { purgeEvents } from "./purge.ts";
import { startWorker } from "./worker.ts";

const AGE_MS = 120_000;

it("drops old events once they have been read, and no others", async () => {
  const clock = new HandClock();
  const random = seededRandom(3);
  const nats = new MemoryNats({ clock, random });
  const topology = createTopology({ logs: 4 });
  nats.ensure(topology);
  const base = { clock, random, topology, log: silentLogger };
  const client = createActorClient({ ...base, bus: nats.connect("client") });
  const start = (group: string) => {
    const definitions = { actors: [sampleActor], projections: [sampleProjection] };
    return startWorker({ ...base, ...definitions, bus: nats.connect(group), group, workerId: group });
  };
  const finish = async <T>(work: Promise<T>): Promise<T> => {
    let isDone = false;
    const watched = work.finally(() => (isDone = true));
    for (let i = 0; i < 400 && !isDone; i++) await clock.pass(50);
    return watched;
  };
  const deposit = (key: string, requestId: string) => {
    const options = { requestId, timeoutMs: 15_000 };
    const method = requestId === "open" ? SampleActor.method.open : SampleActor.method.deposit;
    return finish(client.call(method, { tenant: "demo", key }, { amount: 2n }, options));
  };
  const bus = nats.connect("purge");
  const stored = async (filter: string) => (await bus.subjects(topology.streams.events, filter)).size;
  const purge = () => finish(purgeEvents(bus, clock, topology, AGE_MS));

  start("core");
  for (let number = 0; number < 10; number++) await deposit(`a${number}`, "open");
  await clock.pass(AGE_MS + 1_000);
  await purge();
  expect(await stored(topology.filters.events)).toBe(10); // nobody has counted them yet

  const projection = start("analytics");
  await clock.pass(5_000);
  await deposit("b", "open");
  await clock.pass(2 * LIMITS.idlePositionMs); // logs that have nothing to count say how far they are
  await purge();
  expect(await stored(topology.filters.events)).toBe(1);
  expect(await stored(topology.eventMark("core", "*"))).toBeGreaterThan(0);

  await finish(projection.stop());
  start("analytics");
  await deposit("b", "more");
  await clock.pass(5_000);
  const totals = await finish(client.scan("analytics", SampleTotalsSchema, "demo", "totals", 10));
  expect(totals).toMatchObject([{ state: { deposited: 24n, count: 12 } }]);
}, 30_000);
