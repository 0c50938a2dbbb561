import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../platform/random.ts";
import { busContract } from "./bus.contract.ts";
import { type MemoryFaults, MemoryNats, noFaults, randomFaults } from "./bus-memory.ts";
import { HandClock } from "../client/client-testing.ts";
import { createTopology } from "../topology.ts";

const topology = createTopology({ logs: 4 });

function memory(faults: MemoryFaults = noFaults, seed = 1) {
  const clock = new HandClock();
  const nats = new MemoryNats({ clock, random: seededRandom(seed), faults });
  nats.ensure(topology);
  return { clock, nats };
}

busContract("memory bus", async () => {
  const { clock, nats } = memory();
  return {
    topology,
    connect: async (name) => nats.connect(name),
    nowMs: () => clock.nowMs(),
    pass: (ms) => clock.pass(ms),
    stopServers: async () => nats.stop(),
    startServers: async () => nats.start(),
    deleteConsumers: async (stream) => nats.deleteConsumers(stream),
    replicated: async () => {},
    limitBytes: async (stream, bytesMax) => nats.setBytesMax(stream, bytesMax),
    close: async () => nats.close(),
  };
});

const log = { stream: topology.streams.log, subject: topology.log("core", 0) };
const data = Buffer.from("x");

describe("memory bus, faults", () => {
  it("never settles for a crashed process, and what it had sent may still arrive", async () => {
    const { clock, nats } = memory(randomFaults(seededRandom(3), { delayMsMax: 10 }));
    const [dead, alive] = [nats.connect("dead"), nats.connect("alive")];
    const heard: string[] = [];
    dead.read({ ...read(log.subject), onMessage: () => heard.push("message") });
    await clock.pass(100);
    heard.length = 0;
    void dead.append({ subject: log.subject, data }).then(() => heard.push("stored"));
    void dead.last(log.stream, log.subject).then(() => heard.push("read"));
    nats.crash(dead);
    await clock.pass(60_000);
    expect(heard).toEqual([]);
    expect(dead.isConnected()).toBe(false);
    expect(nats.inspect(log.stream).filter(({ subject }) => subject === log.subject)).toHaveLength(2);
    expect(alive.isConnected()).toBe(true);
  });

  it("holds everything for a frozen process until it is resumed, in order", async () => {
    const { clock, nats } = memory();
    const [frozen, other] = [nats.connect("frozen"), nats.connect("other")];
    const heard: string[] = [];
    frozen.read({
      ...read(log.subject),
      from: "new",
      onMessage: ({ sequence }) => heard.push(`m${sequence}`),
    });
    await clock.pass(1);
    nats.freeze(frozen);
    void frozen.append({ subject: log.subject, data }).then(({ kind }) => heard.push(kind));
    await other.append({ subject: log.subject, data });
    await clock.pass(10_000);
    expect(heard).toEqual([]);
    nats.resume(frozen);
    await clock.pass(1);
    expect(heard).toEqual(expect.arrayContaining(["m9", "m10", "stored"]));
  });

  it("tells unknown for a lost request and a lost reply; only the latter is stored", async () => {
    const fates = [{ isRequestLost: true }, { isReplyLost: true }, { lateMs: 4_000 }, { isInFlight: true }];
    const stored = [0, 1, 1, 0];
    for (const [i, fate] of fates.entries()) {
      const { clock, nats } = memory({
        ...noFaults,
        operation: ({ kind }) => (kind === "append" ? fate : undefined),
      });
      const outcomes: string[] = [];
      void nats
        .connect("a")
        .append({ subject: topology.inbox("core", 0), data })
        .then(({ kind }) => outcomes.push(kind));
      await clock.pass(5_000);
      expect(outcomes).toEqual(["unknown"]);
      expect(nats.inspect(topology.streams.inbox)).toHaveLength(stored[i] ?? 0);
    }
  });

  it("loses with the server what was on its way", async () => {
    const { clock, nats } = memory({
      ...noFaults,
      operation: () => ({ requestDelayMs: 10, replyDelayMs: 10 }),
    });
    const bus = nats.connect("a");
    const outcomes: unknown[] = [];
    const send = () =>
      void bus.append({ subject: topology.inbox("core", 0), data }).then((outcome) => outcomes.push(outcome));
    send();
    await clock.pass(15); // stored, the answer is on its way
    send();
    nats.stop();
    await clock.pass(5);
    nats.start();
    await clock.pass(100);
    expect(outcomes).toEqual([
      { kind: "unknown", reason: "disconnected" },
      { kind: "unknown", reason: "disconnected" },
    ]);
    expect(nats.inspect(topology.streams.inbox)).toHaveLength(1);
    send();
    await clock.pass(100);
    expect(outcomes[2]).toMatchObject({ kind: "stored", sequence: 2 });
  });

  it("answers a multi-get as a follower that is behind", async () => {
    let staleChanges = 0;
    const { nats } = memory({ ...noFaults, staleChanges: () => staleChanges });
    const bus = nats.connect("a");
    const subject = topology.record("order", "acme", "K");
    await bus.append({ subject, data: Buffer.from("1") });
    await bus.append({ subject, data: Buffer.from("2") });
    const value = async () =>
      (await bus.lastMany(topology.streams.actors, [subject])).get(subject)?.data.toString();
    const values: unknown[] = [];
    for (staleChanges of [0, 1, 2, Infinity]) values.push(await value());
    expect(values).toEqual(["2", "1", undefined, undefined]);
  });

  it("fires a schedule twice when it is told to", async () => {
    const { clock, nats } = memory({ ...noFaults, firesAgainAfterMs: () => 300 });
    const subject = topology.timer("core", 0, "order", "acme", "K", "arm");
    const schedule = { atMs: clock.nowMs() + 500, target: topology.inbox("core", 0) };
    await nats.connect("a").append({ subject, data, schedule });
    await clock.pass(600);
    expect(nats.inspect(topology.streams.inbox)).toHaveLength(1);
    await clock.pass(600);
    expect(nats.inspect(topology.streams.inbox)).toHaveLength(2);
  });

  it("reads without gap or repeat whatever goes wrong, and the same seed gives the same run", async () => {
    const run = async (seed: number) => {
      const rates = {
        delayMsMax: 20,
        lostReplyRate: 0.05,
        lateRate: 0.02,
        resetRate: 0.3,
        slowRate: 0.05,
        slowMsMax: 900,
      };
      const { clock, nats } = memory(randomFaults(seededRandom(seed), rates));
      const [writer, reader] = [nats.connect("writer"), nats.connect("reader")];
      const seen: number[] = [];
      const outcomes: string[] = [];
      reader.read({ ...read(topology.inbox("core", 0)), onMessage: ({ sequence }) => seen.push(sequence) });
      for (let i = 0; i < 200; i++) {
        void writer
          .append({ subject: topology.inbox("core", 0), data })
          .then(({ kind }) => outcomes.push(kind));
        await clock.pass(7);
      }
      await clock.pass(60_000);
      expect(seen).toEqual(nats.inspect(topology.streams.inbox).map(({ sequence }) => sequence));
      expect(outcomes).toHaveLength(200);
      return { outcomes, times: nats.inspect(topology.streams.inbox).map(({ timestampMs }) => timestampMs) };
    };
    const first = await run(11);
    expect(new Set(first.outcomes)).toEqual(new Set(["stored", "unknown"]));
    expect(await run(11)).toEqual(first);
    expect(await run(12)).not.toEqual(first);
  });
});

function read(subject: string) {
  return {
    stream: subject.startsWith("log") ? topology.streams.log : topology.streams.inbox,
    filters: [subject],
    from: { sequence: 1 },
  };
}
