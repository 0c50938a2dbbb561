import { describe, expect, it } from "vitest";
import { SampleActor } from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import type { Append, Bus, Subscription } from "../bus/bus.ts";
import { altered } from "../client/client-testing.ts";
import { sampleActor } from "../sample.ts";
import { createSystem, losing, ready } from "./worker-testing.ts";

const { method } = SampleActor;

type Sending = {
  send(rpc: typeof method.transfer, to: string, message: { to: string; amount: bigint }): void;
};

/** The sample of a build that does something before it takes a deposit of a certain amount. */
function sampleThat(at: bigint, act: (ctx: Sending) => void): typeof sampleActor {
  const deposit = sampleActor.handlers.get("Deposit");
  if (deposit === undefined) throw new Error("the sample takes deposits");
  const run = (ctx: never, message: never) => {
    if ((message as { amount: bigint }).amount === at) act(ctx);
    return deposit.run(ctx, message);
  };
  const handlers = new Map(sampleActor.handlers).set("Deposit", { ...deposit, run: run as never });
  return { ...sampleActor, handlers };
}

describe("a crash loop", () => {
  /** A worker of a build that dies when it applies a certain deposit. */
  it("ends with the one input in the dead letters that killed its owners", async () => {
    const system = createSystem();
    const starter = system.worker("w0");
    await ready(system, starter.worker);
    await system.call(method.open, "a", { amount: 10n });
    let deaths = 0;
    let current = starter;
    const deadly = sampleThat(666n, () => {
      deaths++;
      system.nats.crash(current.bus);
    });
    await system.finish(starter.worker.stop());
    const calls = [1n, 2n, 666n, 3n].map((amount, i) =>
      system.client.call(
        method.deposit,
        { tenant: "demo", key: "a" },
        { amount },
        { requestId: `d${i}`, timeoutMs: 200_000 },
      ),
    );
    for (const call of calls) call.catch(() => undefined);
    await system.clock.pass(100);
    for (let life = 1; life <= 6 && deaths < 5; life++) {
      const before = deaths;
      current = system.workerWith(`w${life}`, [deadly]);
      for (let i = 0; i < 100 && deaths === before; i++) await system.clock.pass(100);
      if (deaths === before) break;
    }
    const results = await system.finish(Promise.allSettled(calls));
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
    expect(results[2]).toMatchObject({ reason: { kind: "defect" } });
    expect((await system.read("a")).state).toMatchObject({ balance: 16n });
    const letters = await system.finish(system.client.listDeadLetters(undefined, 10));
    expect(letters).toMatchObject([{ reason: "CRASH_LOOP", method: "Deposit" }]);
    expect(deaths).toBeGreaterThan(2);
  }, 30_000);
});

describe("an owner that is cut off from its log", () => {
  it("has not died of the input that it had announced", async () => {
    const system = createSystem();
    const { clock, nats, topology } = system;
    const log = topology.log("core", topology.logOf("core", "demo", "a"));
    const starter = system.worker("w0");
    await ready(system, starter.worker);
    await system.call(method.open, "a", { amount: 10n });
    await system.finish(starter.worker.stop());
    const options = { requestId: "d", timeoutMs: 200_000 };
    const deposit = system.client.call(method.deposit, { tenant: "demo", key: "a" }, { amount: 5n }, options);
    /** Its commits to the log get no answer; its leases neither, while `isDeaf`. */
    const begin = (name: string) => {
      const bus = nats.connect(name);
      const state = { bus, isDeaf: false };
      const isLost = ({ subject, headers }: Append) =>
        (subject === log && headers?.["Tw-Kind"] === undefined) ||
        (subject === topology.lease("core", name) && state.isDeaf);
      const cut = losing(bus, isLost);
      return Object.assign(state, { worker: system.workerOn(cut, name, [sampleActor]) });
    };
    for (const name of ["w1", "w2"]) {
      const { bus, worker } = begin(name);
      await ready(system, worker);
      await clock.pass(1_000);
      nats.crash(bus);
    }
    const third = begin("w3");
    const admin = nats.connect("admin");
    const lastKind = async () => (await admin.last(topology.streams.log, log))?.headers["Tw-Kind"];
    for (let i = 0; i < 100 && (await lastKind()) !== "trying"; i++) await clock.pass(100);
    expect(await lastKind()).toBe("trying");
    third.isDeaf = true;
    system.worker("w4");
    for (let i = 0; i < 100 && (await lastKind()) === "trying"; i++) await clock.pass(100);
    expect(await lastKind()).toBe("takeover");
    third.isDeaf = false;
    expect(await system.finish(deposit)).toMatchObject({ message: { balance: 15n } });
    expect(await system.finish(system.client.listDeadLetters(undefined, 10))).toEqual([]);
  }, 30_000);
});

describe("an announced input that is too large to commit", () => {
  it("is dealt with before another log of the worker applies anything", async () => {
    const system = createSystem();
    const { clock, nats, topology } = system;
    const starter = system.worker("w0");
    await ready(system, starter.worker);
    const logOf = (key: string) => topology.logOf("core", "demo", key);
    const other = ["b", "c", "d", "e", "f"].find((key) => logOf(key) !== logOf("a")) ?? "";
    for (const key of ["a", other]) await system.call(method.open, key, { amount: 10n });
    await system.finish(starter.worker.stop());
    const large = sampleThat(777n, (ctx) => {
      const to = "x".repeat(260_000);
      for (let i = 0; i < 4; i++) ctx.send(method.transfer, other, { to, amount: 1n });
    });
    const put = (key: string, amount: bigint, requestId: string) =>
      system.client.call(
        method.deposit,
        { tenant: "demo", key },
        { amount },
        { requestId, timeoutMs: 90_000 },
      );
    const calls = [put("a", 777n, "l"), ...Array.from({ length: 10 }, (_, i) => put(other, 1n, `d${i}`))];
    for (const call of calls) call.catch(() => undefined);
    for (const name of ["w1", "w2"]) {
      const { bus, worker } = system.workerCut(name);
      await ready(system, worker);
      await clock.pass(1_000);
      nats.crash(bus);
    }
    system.workerWith("w3", [large]);
    const [tooLarge, ...others] = await system.finish(Promise.allSettled(calls));
    expect(tooLarge).toMatchObject({ status: "rejected", reason: { kind: "defect" } });
    expect(others.every(({ status }) => status === "fulfilled")).toBe(true);
    const { log: stream } = topology.streams;
    const written = await nats.connect("admin").range(stream, topology.filters.logs, 1, 1_000);
    const subject = topology.log("core", logOf("a"));
    const at = written.findIndex((m) => m.subject === subject && m.headers["Tw-Kind"] === "trying");
    expect(at).toBeGreaterThan(0);
    expect(written[at + 1]?.subject).toBe(subject);
  }, 30_000);
});

describe("a crash loop under load", () => {
  const INBOX_DELAY_MS = 300;
  const LIVES_MAX = 8;

  it("ends although every owner commits messages from other logs before it meets what kills it", async () => {
    const system = createSystem();
    const { clock, topology, nats } = system;
    const keyOn = (wanted: (log: number) => boolean) =>
      ["a", "b", "c", "d", "e", "f", "g"].find((key) => wanted(topology.logOf("core", "demo", key))) ?? "";
    const victim = keyOn(() => true);
    const log = topology.logOf("core", "demo", victim);
    const giver = keyOn((other) => other !== log);
    const starter = system.worker("w0");
    await ready(system, starter.worker);
    for (const key of [victim, giver]) await system.call(method.open, key, { amount: 100n });
    await system.finish(starter.worker.stop());
    let deaths = 0;
    const begin = (name: string) => {
      const bus = nats.connect(name);
      const deadly = sampleThat(666n, () => {
        deaths++;
        nats.crash(bus);
      });
      const read: Bus["read"] = (options) => {
        if (options.filters[0] !== topology.inbox("core", log)) return bus.read(options);
        let reader: Subscription | undefined;
        const timer = clock.setTimer(() => (reader = bus.read(options)), INBOX_DELAY_MS);
        return { close: () => (timer.cancel(), reader?.close()) };
      };
      system.workerOn(altered(bus, { read }), name, [deadly]);
    };
    const ask = (
      m: typeof method.deposit | typeof method.transfer,
      key: string,
      message: object,
      requestId: string,
    ) => {
      const call = system.client.call(m, { tenant: "demo", key }, message, { requestId, timeoutMs: 300_000 });
      call.catch(() => undefined);
    };
    ask(method.deposit, victim, { amount: 666n }, "poison");
    const letters = () => system.finish(system.client.listDeadLetters(undefined, 10));
    for (let life = 1; life <= LIVES_MAX && (await letters()).length === 0; life++) {
      ask(method.transfer, giver, { to: victim, amount: 1n }, `t${life}`);
      await clock.pass(50);
      const before = deaths;
      begin(`w${life}`);
      for (let i = 0; i < 100 && deaths === before && (await letters()).length === 0; i++)
        await clock.pass(100);
    }
    expect(await letters()).toMatchObject([{ reason: "CRASH_LOOP", method: "Deposit" }]);
    expect(deaths).toBeGreaterThan(2);
  }, 30_000);
});
