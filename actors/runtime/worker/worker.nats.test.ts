import { afterAll, describe, expect, it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { createLogger } from "../../../platform/log.ts";
import { connectNats, type NatsConnection } from "../../../platform/nats.ts";
import { testCluster, testServer } from "../../../platform/nats-server/testing.ts";
import { systemRandom } from "../../../platform/random.ts";
import {
  SampleActor,
  SampleStateSchema,
  SampleTotalsSchema,
} from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import { createActorClient } from "../client/actor-client.ts";
import { ensureTopology } from "../bus/bootstrap-jetstream.ts";
import { createJetStreamBus } from "../bus/bus-jetstream.ts";
import { sampleActor, samplePayments, sampleProjection } from "../sample.ts";
import { serveTasks } from "../task-queue.ts";
import { startTaskWorker } from "../tasks/task-worker.ts";
import { createTopology } from "../topology.ts";
import { describeBooks, Lines } from "./books-testing.ts";
import { startWorker, type Worker } from "./worker.ts";

const { method } = SampleActor;
/** So many that none takes more writes than a record remembers answers of. */
const ACCOUNTS = 400;
const OPENING = 1_000n;

/** A whole system over real servers; every part has its own connection. */
async function createSystem(servers: string, replicas: 1 | 3) {
  const topology = createTopology({ logs: 4 });
  const lines = new Lines();
  const log = createLogger({ role: "test", write: lines.add });
  const open: NatsConnection[] = [];
  const connect = async (name: string) => {
    const nc = await connectNats({ servers, name, log });
    open.push(nc);
    return nc;
  };
  await ensureTopology({ nc: await connect("bootstrap"), topology, log, replicas });
  const bus = async (name: string) => createJetStreamBus({ nc: await connect(name), log });
  const base = { clock: systemClock, random: systemRandom, topology, log };
  const definitions = { actors: [sampleActor], projections: [sampleProjection] };
  const worker = async (workerId: string, group: string) =>
    startWorker({ ...base, ...definitions, bus: await bus(workerId), group, workerId });
  const paid = new Map<string, bigint>();
  const services = [
    serveTasks(samplePayments, async ({ amount }, { taskId }) => {
      paid.set(taskId, amount);
      return { amount };
    }),
  ];
  const workers = new Map([
    ["w1", await worker("w1", "core")],
    ["w2", await worker("w2", "core")],
    ["p1", await worker("p1", "analytics")],
  ]);
  const tasks = startTaskWorker({ ...base, bus: await bus("tasks"), services });
  const client = createActorClient({ ...base, bus: await bus("client") });
  await until(() => [...workers.values()].flatMap((w) => w.owned()).length === 8);
  const describe = async (wanted: ReadonlyMap<string, bigint>) =>
    describeBooks({ bus: await bus("books"), topology, client, workers, wanted, lines });
  const close = async () => {
    await client.close();
    await tasks.stop();
    await Promise.all([...workers.values()].map((w: Worker) => w.stop()));
    await Promise.all(open.map((nc) => nc.close()));
  };
  return { client, paid, describe, close };
}

async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const endMs = systemClock.monotonicMs() + timeoutMs;
  while (!(await condition())) {
    if (systemClock.monotonicMs() > endMs) throw new Error("did not come true in time");
    await sleep(systemClock, 20);
  }
}

/**
 * Deposits, payments and transfers from many callers while `disturb` runs; then the books must balance. A failure says
 * where everything stands.
 */
async function expectExactBooks(
  system: Awaited<ReturnType<typeof createSystem>>,
  disturb: () => Promise<void>,
) {
  const wanted = new Map<string, bigint>();
  try {
    await keepBooks(system, wanted, disturb);
  } catch (cause) {
    throw new Error(`${String(cause)}\n${await system.describe(wanted)}`, { cause });
  }
}

async function keepBooks(
  { client, paid }: Awaited<ReturnType<typeof createSystem>>,
  wanted: Map<string, bigint>,
  disturb: () => Promise<void>,
) {
  const call = (m: (typeof method)[keyof typeof method], key: string, message: object, requestId: string) =>
    client.call(m, { tenant: "demo", key }, message as never, { requestId, timeoutMs: 60_000 });
  const keys = Array.from({ length: ACCOUNTS }, (_, i) => `a${i}`);
  const add = (key: string, amount: bigint) => wanted.set(key, (wanted.get(key) ?? 0n) + amount);
  await Promise.all(keys.map((key) => call(method.open, key, { amount: OPENING }, `open-${key}`)));
  for (const key of keys) add(key, OPENING);
  let isOver = false;
  let deposits = 0n;
  const caller = async (name: number) => {
    for (let n = 0; !isOver; n++) {
      const key = `a${(name * 50 + n) % ACCOUNTS}`;
      const to = `a${(name * 50 + n + 7) % ACCOUNTS}`;
      await call(method.deposit, key, { amount: 3n }, `d-${name}-${n}`);
      deposits += 3n;
      add(key, 3n);
      await call(method.pay, key, { amount: 1n }, `p-${name}-${n}`);
      add(key, -1n);
      await call(method.transfer, key, { to, amount: 2n }, `t-${name}-${n}`);
      add(key, -2n);
      add(to, 2n);
    }
  };
  const callers = Promise.all(Array.from({ length: 8 }, (_, name) => caller(name)));
  await sleep(systemClock, 500);
  await disturb();
  await sleep(systemClock, 1_000);
  isOver = true;
  await callers;
  const put = OPENING * BigInt(ACCOUNTS) + deposits;
  const charged = [...paid.values()].reduce((sum, amount) => sum + amount, 0n);
  await until(async () => (await sumOf(client)) === put - charged);
  await until(async () => {
    const [totals] = await client.scan("analytics", SampleTotalsSchema, "demo", "totals", 1);
    return totals?.state?.deposited === put;
  });
  expect(await client.listDeadLetters(undefined, 10)).toEqual([]);
  expect(deposits).toBeGreaterThan(0n);
}

async function sumOf(client: Awaited<ReturnType<typeof createSystem>>["client"]): Promise<bigint> {
  const keys = Array.from({ length: ACCOUNTS }, (_, i) => `a${i}`);
  const accounts = await client.readMany("sample", SampleStateSchema, "demo", keys);
  return [...accounts.values()].reduce((sum, { state }) => sum + (state?.balance ?? 0n), 0n);
}

describe("the runtime on one server", async () => {
  const server = await testServer();
  afterAll(() => server.stop());

  it("keeps exact books when nats-server is killed and comes back", async () => {
    const system = await createSystem(server.url, 1);
    await expectExactBooks(system, async () => {
      for (let i = 0; i < 2; i++) {
        await server.kill();
        await sleep(systemClock, 300);
        await server.restart();
        await sleep(systemClock, 1_500);
      }
    });
    await system.close();
  }, 90_000);
});

describe("the runtime on three servers", async () => {
  const cluster = await testCluster();
  afterAll(() => cluster.stop());

  it("keeps exact books when each server is killed in turn", async () => {
    await cluster.waitUntilReady();
    const system = await createSystem(cluster.urls.join(","), 3);
    await expectExactBooks(system, async () => {
      for (const server of cluster.servers) {
        await server.kill();
        await sleep(systemClock, 1_000);
        await server.restart();
        await sleep(systemClock, 6_000);
      }
    });
    await system.close();
  }, 150_000);
});
