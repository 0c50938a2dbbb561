import assert from "node:assert/strict";
import { silentLogger } from "../../../platform/log.ts";
import { seededRandom } from "../../../platform/random.ts";
import {
  type SampleActor,
  SampleStateSchema,
} from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import type { Append, Bus } from "../bus/bus.ts";
import { MemoryNats } from "../bus/bus-memory.ts";
import { createActorClient } from "../client/actor-client.ts";
import { altered, HandClock } from "../client/client-testing.ts";
import { sampleActor, samplePayments, sampleProjection } from "../sample.ts";
import { serveTasks } from "../task-queue.ts";
import { startTaskWorker } from "../tasks/task-worker.ts";
import { createTopology } from "../topology.ts";
import { startWorker, type Worker } from "./worker.ts";

type Method = (typeof SampleActor.method)[keyof typeof SampleActor.method];

/** A whole system on the memory bus. */
export function createSystem() {
  const clock = new HandClock();
  const random = seededRandom(7);
  const nats = new MemoryNats({ clock, random });
  const topology = createTopology({ logs: 4 });
  nats.ensure(topology);
  const base = { clock, random, topology, log: silentLogger };
  const definitions = { actors: [sampleActor], projections: [sampleProjection] };
  const charges = new Map<string, bigint>();
  const attempts: bigint[] = [];
  /** Payments that fail once. */
  const failing = new Set<bigint>();
  const worker = (workerId: string, group = "core") => {
    const bus = nats.connect(workerId);
    return { bus, worker: startWorker({ ...base, ...definitions, bus, group, workerId }) };
  };
  const workerWith = (workerId: string, actors: (typeof sampleActor)[]) => {
    const bus = nats.connect(workerId);
    return { bus, worker: startWorker({ ...base, actors, projections: [], bus, group: "core", workerId }) };
  };
  const workerOn = (bus: Bus, workerId: string, actors: (typeof sampleActor)[]) =>
    startWorker({ ...base, actors, projections: [], bus, group: "core", workerId });
  /** One whose commits get no answer and are not stored. */
  const workerCut = (workerId: string) => {
    const bus = nats.connect(workerId);
    const isCommit = ({ subject, headers }: Append) =>
      subject.startsWith(topology.log("core", "*").slice(0, -1)) && headers?.["Tw-Kind"] === undefined;
    return { bus, worker: workerOn(losing(bus, isCommit), workerId, [sampleActor]) };
  };
  const client = createActorClient({ ...base, bus: nats.connect("client") });
  const service = serveTasks(samplePayments, async ({ amount }, { taskId }) => {
    attempts.push(amount);
    if (failing.delete(amount)) throw new Error("not this time");
    charges.set(taskId, amount);
    return { amount };
  });
  const tasks = startTaskWorker({ ...base, bus: nats.connect("tasks"), services: [service] });
  let calls = 0;
  const finish = async <T>(promise: Promise<T>): Promise<T> => {
    let isDone = false;
    const watched = promise.finally(() => (isDone = true));
    watched.catch(() => undefined);
    for (let i = 0; i < 400 && !isDone; i++) await clock.pass(50);
    return watched;
  };
  const call = <M extends Method>(m: M, key: string, message: object, requestId = `r${++calls}`) =>
    finish(client.call(m, { tenant: "demo", key }, message as never, { requestId, timeoutMs: 15_000 }));
  const read = (key: string) => finish(client.read("sample", SampleStateSchema, { tenant: "demo", key }));
  return {
    base,
    clock,
    nats,
    topology,
    worker,
    workerWith,
    workerOn,
    workerCut,
    client,
    tasks,
    charges,
    attempts,
    failing,
    call,
    read,
    finish,
  };
}

/** A bus on which some appends get no answer and are not stored. */
export function losing(bus: Bus, isLost: (message: Append) => boolean): Bus {
  return altered(bus, {
    append: (message) =>
      isLost(message) ? Promise.resolve({ kind: "unknown", reason: "no leader" }) : bus.append(message),
  });
}

/** Waits until a worker has its logs. */
export async function ready(system: ReturnType<typeof createSystem>, worker: Worker, logs = 4) {
  for (let i = 0; i < 200 && worker.owned().length < logs; i++) await system.clock.pass(50);
  assert.equal(worker.owned().length, logs, "logs that it owns");
}
