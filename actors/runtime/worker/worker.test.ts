import { describe, expect, it } from "vitest";
import {
  SampleActor,
  SampleTotalsSchema,
} from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import { createActorClient } from "../client/actor-client.ts";
import { LIMITS } from "../limits.ts";
import { createTopology } from "../topology.ts";
import { logEnd, takeOver } from "../log/takeover.ts";
import { BatchCombiner } from "../log/batch-combiner.ts";
import { createSystem, ready } from "./worker-testing.ts";

const { method } = SampleActor;
/** Of a journal that a burst fills within a second. */
const BYTES_MAX = 100_000;

describe("a worker", () => {
  it("takes over its logs and answers a request", async () => {
    const system = createSystem();
    const { worker } = system.worker("w1");
    await ready(system, worker);
    const opened = await system.call(method.open, "a", { amount: 50n });
    expect(opened.message).toMatchObject({ balance: 50n });
    expect((await system.read("a")).state).toMatchObject({ balance: 50n });
  });

  it("answers a repeated request without effect", async () => {
    const system = createSystem();
    await ready(system, system.worker("w1").worker);
    await system.call(method.open, "a", { amount: 50n });
    await system.call(method.deposit, "a", { amount: 5n }, "same");
    const again = await system.call(method.deposit, "a", { amount: 5n }, "same");
    expect(again).toMatchObject({ replayed: true, message: { balance: 55n } });
    await expect(system.call(method.deposit, "a", { amount: 6n }, "same")).rejects.toMatchObject({
      reason: "IDEMPOTENCY_KEY_REUSED",
    });
  });

  it("carries messages within and between logs, exactly once", async () => {
    const system = createSystem();
    await ready(system, system.worker("w1").worker);
    await system.call(method.open, "a", { amount: 1_000n });
    const to = Array.from({ length: 40 }, (_, i) => `to-${i}`);
    await system.call(method.spread, "a", { to, amount: 3n });
    await system.clock.pass(1_000);
    for (const key of to) expect((await system.read(key)).state).toMatchObject({ balance: 3n, messages: 1 });
    expect((await system.read("a")).state).toMatchObject({ balance: 880n });
  });

  it("sets aside what a sender that counts other logs has sent it, and answers it", async () => {
    const system = createSystem();
    await ready(system, system.worker("w1").worker);
    const bus = system.nats.connect("stale");
    const stale = createActorClient({ ...system.base, bus, topology: createTopology({ logs: 1 }) });
    const key = Array.from({ length: 20 }, (_, i) => `k${i}`).find(
      (k) => system.topology.logOf("core", "demo", k) > 0,
    );
    if (key === undefined) throw new Error("all keys lie in the first log");
    const options = { requestId: "r", timeoutMs: 15_000 };
    const opened = stale.call(method.open, { tenant: "demo", key }, { amount: 50n }, options);
    await expect(system.finish(opened)).rejects.toMatchObject({ name: "CallError" });
    const [letter] = await system.finish(system.client.listDeadLetters(undefined, 10));
    expect(letter).toMatchObject({
      reason: "WRONG_LOG",
      error: expect.stringContaining(`sample.demo.${key} belongs`),
    });
    expect((await system.read(key)).state).toBeUndefined();
  });

  it("refuses without a trace but the remembered answer", async () => {
    const system = createSystem();
    await ready(system, system.worker("w1").worker);
    await system.call(method.open, "a", { amount: 10n });
    const transfer = () => system.call(method.transfer, "a", { to: "b", amount: 11n }, "t");
    await expect(transfer()).rejects.toMatchObject({ reason: "INSUFFICIENT", metadata: { balance: "10" } });
    await system.call(method.deposit, "a", { amount: 90n });
    await expect(transfer()).rejects.toMatchObject({ reason: "INSUFFICIENT" });
    expect((await system.read("b")).state).toBeUndefined();
  });

  it("runs a task and answers the deferred request with its outcome", async () => {
    const system = createSystem();
    await ready(system, system.worker("w1").worker);
    await system.call(method.open, "a", { amount: 10n });
    const paid = await system.call(method.pay, "a", { amount: 4n });
    expect(paid.message).toMatchObject({ balance: 6n });
    expect((await system.read("a")).state).toMatchObject({ paid: 4n });
    expect([...system.charges.values()]).toEqual([4n]);
  });

  it("tries a task of a bundle again alone, and the others once", async () => {
    const system = createSystem();
    await ready(system, system.worker("w1").worker);
    await system.call(method.open, "a", { amount: 1_000n });
    const amounts = Array.from({ length: 20 }, (_, i) => BigInt(i + 1));
    system.failing.add(7n);
    await Promise.all(amounts.map((amount) => system.call(method.pay, "a", { amount })));
    expect((await system.read("a")).state).toMatchObject({ balance: 790n, paid: 210n, givenUp: 0 });
    const attempts = amounts.map((amount) => system.attempts.filter((tried) => tried === amount).length);
    expect(attempts).toEqual(amounts.map((amount) => (amount === 7n ? 2 : 1)));
    const bus = system.nats.connect("look");
    const stored = await system.finish(bus.subjects(system.topology.streams.tasks, "task.>"));
    expect([...stored.keys()].some((subject) => subject.includes(".bundle."))).toBe(true);
  });

  it("fires a timer once", async () => {
    const system = createSystem();
    await ready(system, system.worker("w1").worker);
    await system.call(method.open, "a", { amount: 10n });
    await system.call(method.remind, "a", { delayMs: 30_000, amount: 1n });
    await system.clock.pass(20_000);
    expect((await system.read("a")).state).toMatchObject({ reminders: 0 });
    await system.clock.pass(20_000);
    expect((await system.read("a")).state).toMatchObject({ reminders: 1, balance: 11n });
  });

  it("puts poison into the dead letters and goes on", async () => {
    const system = createSystem();
    await ready(system, system.worker("w1").worker);
    await system.call(method.open, "a", { amount: 10n });
    await expect(system.call(method.break, "a", { amount: 1n })).rejects.toMatchObject({ kind: "defect" });
    expect((await system.call(method.deposit, "a", { amount: 1n })).message).toMatchObject({ balance: 11n });
    const letters = await system.finish(system.client.listDeadLetters(undefined, 10));
    expect(letters).toMatchObject([{ reason: "HANDLER_FAILED", kind: "sample", key: "a", method: "Break" }]);
  });

  it("projects events into totals and lists the newest first", async () => {
    const system = createSystem();
    await ready(system, system.worker("w1").worker);
    await ready(system, system.worker("p1", "analytics").worker);
    for (let i = 0; i < 70; i++) await system.call(method.open, `k${i}`, { amount: 2n });
    await system.clock.pass(2_000);
    const totals = await system.finish(
      system.client.scan("analytics", SampleTotalsSchema, "demo", "totals", 10),
    );
    expect(totals).toMatchObject([{ state: { deposited: 140n, count: 70 } }]);
    const { entries } = await system.finish(
      system.client.list("demo", "accounts", undefined, 100, () => true),
    );
    expect(entries.map(({ id }) => id)).toEqual(Array.from({ length: 70 }, (_, i) => `k${69 - i}`));
  });

  it("hands over at its stop, and the next goes on where it ended", async () => {
    const system = createSystem();
    const first = system.worker("w1");
    await ready(system, first.worker);
    await system.call(method.open, "a", { amount: 10n });
    await system.finish(first.worker.stop());
    await ready(system, system.worker("w2").worker);
    expect((await system.call(method.deposit, "a", { amount: 1n })).message).toMatchObject({ balance: 11n });
  });

  it("takes over from a worker that died, and fences one that was only paused", async () => {
    const system = createSystem();
    const first = system.worker("w1");
    await ready(system, first.worker);
    await system.call(method.open, "a", { amount: 10n });
    system.nats.freeze(first.bus);
    const second = system.worker("w2");
    await ready(system, second.worker);
    expect((await system.call(method.deposit, "a", { amount: 1n })).message).toMatchObject({ balance: 11n });
    system.nats.resume(first.bus);
    await system.clock.pass(1_000);
    expect((await system.call(method.deposit, "a", { amount: 1n })).message).toMatchObject({ balance: 12n });
  });

  it("does not bring back a dead letter that was dealt with", async () => {
    const system = createSystem();
    const first = system.worker("w1");
    await ready(system, first.worker);
    await system.call(method.open, "a", { amount: 1n });
    await expect(system.call(method.break, "a", { amount: 1n })).rejects.toMatchObject({ kind: "defect" });
    await system.clock.pass(2_000);
    const letters = () => system.finish(system.client.listDeadLetters(undefined, 10));
    const [letter] = await letters();
    expect(await system.finish(system.client.discardDeadLetter(letter?.id ?? ""))).toBe(true);
    await system.clock.pass(121_000); // by then the server has forgotten its id
    system.nats.crash(first.bus);
    await ready(system, system.worker("w2").worker);
    await system.clock.pass(2_000);
    expect(await letters()).toEqual([]);
  });

  it("shares the logs among the workers that live", async () => {
    const system = createSystem();
    const first = system.worker("w1");
    await ready(system, first.worker);
    const second = system.worker("w2");
    await ready(system, second.worker, 2);
    expect(first.worker.owned()).toHaveLength(2);
  });
});

describe("a step that fails behind another on the same record in one commit", () => {
  it("is undone alone: the commit is begun again carefully", async () => {
    const system = createSystem();
    await ready(system, system.worker("w1").worker);
    await system.call(method.open, "a", { amount: 10n });
    const results = await Promise.allSettled([
      system.call(method.deposit, "a", { amount: 1n }),
      system.call(method.transfer, "a", { to: "b", amount: 1_000n }),
      system.call(method.deposit, "a", { amount: 2n }),
      system.call(method.break, "a", { amount: 1n }),
      system.call(method.deposit, "a", { amount: 4n }),
    ]);
    expect(results.map(({ status }) => status)).toEqual([
      "fulfilled",
      "rejected",
      "fulfilled",
      "rejected",
      "fulfilled",
    ]);
    expect((await system.read("a")).state).toMatchObject({ balance: 17n });
    expect(await system.finish(system.client.listDeadLetters(undefined, 10))).toHaveLength(1);
  });
});

describe("the journal", () => {
  it("is not taken for damaged by a worker that has read the end of a log before it was purged", async () => {
    const system = createSystem();
    await ready(system, system.worker("w1").worker);
    await ready(system, system.worker("p1", "analytics").worker);
    const bus = system.nats.connect("late");
    const records = new BatchCombiner(bus);
    const { signal } = new AbortController();
    const whose = { group: "core", log: 0, workerId: "late", contracts: "", signal };
    const options = { ...system.base, ...whose, bus, combiners: { records, events: records } };
    for (let i = 0; i < 20; i++) await system.call(method.open, `k${i}`, { amount: 1n });
    await system.clock.pass(2 * LIMITS.idlePositionMs);
    const before = await system.finish(logEnd(options));
    const { log } = system.topology.streams;
    system.nats.setBytesMax(log, 15_000);
    for (let i = 20; i < 60; i++) await system.call(method.open, `k${i}`, { amount: 1n });
    await system.clock.pass(10_000);
    const { firstSequence } = await system.finish(bus.status(log));
    expect(firstSequence).toBeGreaterThan(before.sequence);
    expect(await system.finish(takeOver(options, before))).toBeUndefined();
  }, 30_000);

  it("is purged below what everybody needs, at once when its space runs out, and loses nothing", async () => {
    const system = createSystem();
    await ready(system, system.worker("w1").worker);
    await ready(system, system.worker("p1", "analytics").worker);
    const { log } = system.topology.streams;
    system.nats.setBytesMax(log, 120_000);
    const bus = system.nats.connect("look");
    for (let i = 0; i < 400; i++) {
      await system.call(method.open, `k${i}`, { amount: 1n });
      if (i % 20 === 0) await system.clock.pass(6_000);
    }
    const { lastSequence, messages } = await system.finish(bus.status(log));
    expect(lastSequence).toBeGreaterThan(700);
    expect(messages).toBeLessThan(lastSequence / 2);
    await system.finish(system.worker("w2").worker.stop());
    for (let i = 0; i < 400; i += 37)
      expect((await system.read(`k${i}`)).state).toMatchObject({ balance: 1n });
  }, 30_000);

  it("keeps room for what idle logs have read, so that a burst does not fill it for good", async () => {
    const system = createSystem();
    const { topology } = system;
    const { streams } = topology;
    system.nats.setBytesMax(streams.log, BYTES_MAX);
    const { worker } = system.worker("w1");
    const other = system.worker("w2");
    await ready(system, other.worker, 2);
    await ready(system, worker, 2);
    const [busy] = worker.owned();
    const bus = system.nats.connect("look");
    const keys = Array.from({ length: 1_200 }, (_, i) => `k${i}`).filter(
      (k) => topology.logOf("core", "demo", k) === busy,
    );
    system.nats.freeze(other.bus); // its logs write nothing down until they are taken over
    const calls: Promise<unknown>[] = [];
    let pressureMax = 0;
    for (const key of keys) {
      const options = { requestId: key, timeoutMs: 15_000 };
      calls.push(system.client.call(method.open, { tenant: "demo", key }, { amount: 1n }, options));
      const now = bus.status(streams.log);
      await system.clock.pass(3);
      pressureMax = Math.max(pressureMax, (await now).bytes / BYTES_MAX);
    }
    await system.finish(Promise.all(calls));
    expect(pressureMax).toBeGreaterThan(0.85); // it was nearly as full as it may be
    await system.clock.pass(10_000);
    expect((await system.finish(bus.status(streams.log))).bytes).toBeLessThan(0.8 * BYTES_MAX);
    await system.call(method.open, "last", { amount: 1n });
  }, 30_000);
});
