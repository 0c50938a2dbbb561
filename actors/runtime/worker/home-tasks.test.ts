import { describe, expect, it } from "vitest";
import { silentLogger } from "../../../platform/log.ts";
import { seededRandom } from "../../../platform/random.ts";
import {
  SampleActor,
  SampleStateSchema,
} from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import { MemoryNats } from "../bus/bus-memory.ts";
import { createActorClient } from "../client/actor-client.ts";
import { HandClock } from "../client/client-testing.ts";
import { sampleActor, samplePayments } from "../sample.ts";
import { serveTasks } from "../task-queue.ts";
import { startTaskWorker } from "../tasks/task-worker.ts";
import { createTopology } from "../topology.ts";
import { startWorker } from "./worker.ts";

const { method } = SampleActor;

/** Processes that own logs and serve their tasks, on the memory bus. */
function createSystem() {
  const clock = new HandClock();
  const random = seededRandom(11);
  const nats = new MemoryNats({ clock, random });
  const topology = createTopology({ logs: 4 });
  nats.ensure(topology);
  const base = { clock, random, topology, log: silentLogger };
  const attempts: { readonly by: string; readonly taskId: string; readonly attempt: number }[] = [];
  /** What an attempt does before it succeeds. */
  const plan = { failures: 0, waits: new Set<string>(), gate: Promise.resolve() };
  const begin = (name: string) => {
    const bus = nats.connect(name);
    const service = serveTasks(samplePayments, async ({ amount }, { taskId, attempt }) => {
      attempts.push({ by: name, taskId, attempt });
      if (plan.failures > 0) {
        plan.failures--;
        throw new Error("not this time");
      }
      await plan.gate;
      if (plan.waits.has(name)) await new Promise(() => undefined);
      return { amount };
    });
    const tasks = startTaskWorker({ ...base, bus, services: [service] });
    const options = {
      ...base,
      bus,
      group: "core",
      workerId: name,
      actors: [sampleActor],
      projections: [],
      tasks,
    };
    return { bus, tasks, worker: startWorker(options) };
  };
  const client = createActorClient({ ...base, bus: nats.connect("client") });
  const finish = async <T>(promise: Promise<T>): Promise<T> => {
    let isDone = false;
    promise.finally(() => (isDone = true)).catch(() => undefined);
    for (let i = 0; i < 800 && !isDone; i++) await clock.pass(50);
    expect(isDone).toBe(true);
    return promise;
  };
  let calls = 0;
  const call = <M extends (typeof method)[keyof typeof method]>(m: M, key: string, message: object) =>
    client.call(m, { tenant: "demo", key }, message as never, {
      requestId: `r${++calls}`,
      timeoutMs: 30_000,
    });
  const look = nats.connect("look");
  const stored = async (stream: string, filter: string) => [
    ...(await finish(look.subjects(stream, filter))).keys(),
  ];
  const last = async (stream: string) => (await finish(look.status(stream))).lastSequence;
  const read = async (key: string) =>
    (await finish(client.read("sample", SampleStateSchema, { tenant: "demo", key }))).state;
  return { clock, nats, topology, attempts, plan, begin, call, finish, stored, last, read };
}

async function opened() {
  const system = createSystem();
  const first = system.begin("w1");
  for (let i = 0; i < 200 && first.worker.owned().length < 4; i++) await system.clock.pass(50);
  await system.finish(system.call(method.open, "a", { amount: 100n }));
  return { ...system, first };
}

describe("a task whose log is served by the process", () => {
  it("is done without a message of its own", async () => {
    const system = await opened();
    const { streams } = system.topology;
    const before = await system.stored(streams.inbox, "inbox.>");
    const paid = await system.finish(system.call(method.pay, "a", { amount: 4n }));
    expect(paid.message).toMatchObject({ balance: 96n });
    expect(await system.read("a")).toMatchObject({ paid: 4n });
    expect(system.attempts).toMatchObject([{ by: "w1", attempt: 1 }]);
    expect(await system.stored(streams.tasks, ">")).toEqual([]);
    expect(await system.stored(streams.inbox, "inbox.>")).toEqual(before);
  });

  it("leaves as a message when its first attempt fails, and counts that attempt", async () => {
    const system = await opened();
    system.plan.failures = 1;
    await system.finish(system.call(method.pay, "a", { amount: 4n }));
    expect(system.attempts.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(new Set(system.attempts.map(({ taskId }) => taskId)).size).toBe(1);
    expect(await system.read("a")).toMatchObject({ balance: 96n, paid: 4n });
  });

  it("is derived again by the next owner when its process dies over it, with the same id", async () => {
    const system = await opened();
    system.plan.waits.add("w1");
    const paid = system.call(method.pay, "a", { amount: 4n });
    for (let i = 0; i < 100 && system.attempts.length === 0; i++) await system.clock.pass(20);
    system.nats.crash(system.first.bus);
    system.begin("w2");
    expect((await system.finish(paid)).message).toMatchObject({ balance: 96n });
    expect(system.attempts).toMatchObject([
      { by: "w1", attempt: 1 },
      { by: "w2", attempt: 2 },
    ]);
    expect(new Set(system.attempts.map(({ taskId }) => taskId)).size).toBe(1);
    expect(await system.read("a")).toMatchObject({ paid: 4n, givenUp: 0 });
  });

  it("is left to everybody when its log is handed over", async () => {
    const system = await opened();
    system.plan.waits.add("w1");
    const paid = system.call(method.pay, "a", { amount: 4n });
    for (let i = 0; i < 100 && system.attempts.length === 0; i++) await system.clock.pass(20);
    system.begin("w2");
    const stopped = system.first.worker.stop();
    expect((await system.finish(paid)).message).toMatchObject({ balance: 96n });
    await system.finish(stopped);
    expect(await system.read("a")).toMatchObject({ balance: 96n, paid: 4n });
  });

  it("tells its outcome through the inbox when its log has gone meanwhile", async () => {
    const system = await opened();
    const { streams } = system.topology;
    let open = () => {};
    system.plan.gate = new Promise<void>((resolve) => (open = resolve));
    const paid = system.call(method.pay, "a", { amount: 4n });
    for (let i = 0; i < 100 && system.attempts.length === 0; i++) await system.clock.pass(20);
    await system.finish(system.first.worker.stop());
    const before = await system.last(streams.inbox);
    open();
    await system.clock.pass(200);
    expect(await system.last(streams.inbox)).toBeGreaterThan(before);
    system.begin("w2");
    expect((await system.finish(paid)).message).toMatchObject({ balance: 96n });
    expect(await system.read("a")).toMatchObject({ balance: 96n, paid: 4n });
  });
});
