import { headers } from "@nats-io/nats-core";
import { afterEach, describe, expect, it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { testCluster, testServer } from "../../../platform/nats-server/testing.ts";
import { type Bus, BusError } from "./bus.ts";
import { type JetStreamWorld, worldOn } from "./bus-jetstream-testing.ts";
import type { Topology } from "../topology.ts";

const WITHIN_MS = 15_000;
const data = Buffer.from("x");
const worlds: JetStreamWorld[] = [];

afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

async function oneServer(options: Parameters<typeof testServer>[0] = {}) {
  const server = await testServer(options);
  const world = await worldOn({
    urls: [server.url],
    replicas: 1,
    kill: () => server.kill(),
    restart: () => server.restart(),
    stop: () => server.stop(),
  });
  worlds.push(world);
  return { server, world, t: world.topology, bus: await world.connect("test") };
}

async function until(isTrue: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const giveUpMs = systemClock.monotonicMs() + WITHIN_MS;
  while (!(await isTrue())) {
    if (systemClock.monotonicMs() > giveUpMs) throw new Error(`not within ${WITHIN_MS} ms: ${what}`);
    await sleep(systemClock, 10);
  }
}

/** Reads one inbox from its start. @returns the sequences of what has come, as it comes */
function readInbox(bus: Bus, t: Topology): readonly number[] {
  const seen: number[] = [];
  bus.read({
    stream: t.streams.inbox,
    filters: [t.inbox("core", 0)],
    from: { sequence: 1 },
    onMessage: ({ sequence }) => seen.push(sequence),
  });
  return seen;
}

async function consumers({ admin }: JetStreamWorld, stream: string): Promise<readonly string[]> {
  return (await admin.api<{ consumers?: string[] }>(`CONSUMER.NAMES.${stream}`)).consumers ?? [];
}

describe("jetstream bus, faults", () => {
  it("leaves no reader's consumer behind, and names what it makes", async () => {
    const { world, t, bus } = await oneServer();
    const start = () =>
      bus.read({
        stream: t.streams.log,
        filters: [t.log("core", 0), t.log("core", 1)],
        from: { sequence: 1 },
        onMessage: () => {},
      });
    const readers = [start(), start(), start()];
    await until(async () => (await consumers(world, t.streams.log)).length === 3, "three consumers");
    const [name] = await consumers(world, t.streams.log);
    const { config } = await world.admin.api<{ config: { description: string; metadata: object } }>(
      `CONSUMER.INFO.${t.streams.log}.${name}`,
    );
    expect(config).toMatchObject({
      description: expect.stringMatching(/^Tradewind: /),
      metadata: { "tradewind.owner": "tradewind" },
    });
    start().close(); // before it is made
    for (const reader of readers) reader.close();
    await until(async () => (await consumers(world, t.streams.log)).length === 0, "no consumer");
    await sleep(systemClock, 200);
    expect(await consumers(world, t.streams.log)).toEqual([]);
  });

  it("reads on within two seconds of a server that was killed and started again", async () => {
    const { server, world, t, bus } = await oneServer();
    const seen = readInbox(bus, t);
    const writer = await world.connect("writer");
    for (let round = 0; round < 2; round++) {
      await server.kill();
      await server.restart();
      const upMs = systemClock.monotonicMs();
      await until(
        async () => (await writer.append({ subject: t.inbox("core", 0), data })).kind === "stored",
        "an append",
      );
      const { lastSequence } = await writer.status(t.streams.inbox);
      await until(() => seen.includes(lastSequence), "the message");
      expect(systemClock.monotonicMs() - upMs).toBeLessThan(2_000);
    }
    expect(seen).toEqual(seen.map((_, i) => i + 1));
  });

  it("survives a server that is frozen for a while", async () => {
    const { server, world, t, bus } = await oneServer();
    const seen = readInbox(bus, t);
    const writer = await world.connect("writer");
    await writer.append({ subject: t.inbox("core", 0), data });
    await until(() => seen.length === 1, "the first message");
    server.freeze();
    await sleep(systemClock, 50); // its threads stop one after another
    expect(await writer.append({ subject: t.inbox("core", 0), data })).toEqual({
      kind: "unknown",
      reason: "timeout",
    });
    await sleep(systemClock, 3_000);
    server.resume();
    const upMs = systemClock.monotonicMs();
    await until(() => seen.length === 2, "the message that was stored after all");
    expect(seen).toEqual([1, 2]);
    expect(systemClock.monotonicMs() - upMs).toBeLessThan(3_000);
  });

  it("leaves a consumer that heartbeats and delivers nothing, as one does whose server is behind", async () => {
    const { world, t, bus } = await oneServer();
    const seen = readInbox(bus, t);
    const writer = await world.connect("writer");
    await writer.append({ subject: t.inbox("core", 0), data });
    await until(() => seen.length === 1, "the first message");
    const [name] = await consumers(world, t.streams.inbox);
    const pause = { pause_until: new Date(systemClock.nowMs() + 600_000).toISOString() };
    await world.admin.api(`CONSUMER.PAUSE.${t.streams.inbox}.${name}`, pause);
    await sleep(systemClock, 4_000);
    expect(await consumers(world, t.streams.inbox)).toEqual([name]); // there is nothing to deliver
    await writer.append({ subject: t.inbox("core", 0), data });
    await until(() => seen.length === 2, "the second message");
    expect(seen).toEqual([1, 2]);
  });

  it("does not take a cut answer for a complete one", async () => {
    const { world, bus } = await oneServer();
    const answers: { subject: string; last: number }[] = [];
    let isEnded = false;
    const { nc } = world.admin;
    nc.subscribe("$JS.API.DIRECT.GET.CUT", {
      callback: (_error, msg) => {
        for (const [i, { subject, last }] of answers.entries()) {
          const all = headers();
          const of = {
            "Nats-Subject": subject,
            "Nats-Sequence": `${i + 1}`,
            "Nats-Last-Sequence": `${last}`,
            "Nats-Time-Stamp": "2026-01-01T00:00:00Z",
          };
          for (const [name, value] of Object.entries(of)) all.set(name, value);
          nc.publish(msg.reply ?? "", data, { headers: all });
        }
        const end = headers(204, "EOB");
        end.set("Nats-Num-Pending", "0");
        end.set("Nats-Last-Sequence", "2");
        if (isEnded) nc.publish(msg.reply ?? "", "", { headers: end });
      },
    });
    await nc.flush();
    const ask = () => bus.lastMany("CUT", ["a", "b"]);
    answers.push({ subject: "a", last: 0 });
    isEnded = true;
    await expect(ask()).rejects.toThrow(/cut/); // the second is missing
    answers.push({ subject: "b", last: 5 });
    await expect(ask()).rejects.toThrow(/gap/); // one between is missing
    answers.splice(1, 1, { subject: "b", last: 1 });
    expect([...(await ask()).keys()]).toEqual(["a", "b"]);
    isEnded = false;
    await expect(ask()).rejects.toThrow(BusError); // no end
  });

  it("says full when the whole store is, also for streams without a limit, and heals by a purge", async () => {
    const { t, bus } = await oneServer({ maxFileStoreBytes: 4_000_000 });
    const big = Buffer.alloc(500_000);
    const fill = () => bus.append({ subject: t.inbox("core", 0), data: big });
    await until(async () => (await fill()).kind !== "stored", "the store is full");
    expect(await fill()).toMatchObject({ kind: "refused", full: true });
    expect(await bus.append({ subject: t.log("core", 9), data })).toMatchObject({
      kind: "refused",
      full: true,
    });
    await bus.purge(t.streams.inbox, t.inbox("core", 0));
    await until(
      async () => (await bus.append({ subject: t.log("core", 9), data })).kind === "stored",
      "room",
    );
  });

  it("keeps every message over crashes of single servers of a cluster, in order", async () => {
    const cluster = await testCluster();
    const each = async (run: (server: (typeof cluster.servers)[number]) => Promise<void>) =>
      void (await Promise.all(cluster.servers.map(run)));
    const world = await worldOn({
      urls: cluster.urls,
      replicas: 3,
      kill: () => each((server) => server.kill()),
      restart: () => each((server) => server.restart()),
      stop: () => cluster.stop(),
    });
    worlds.push(world);
    const t = world.topology;
    const [writer, reading] = [await world.connect("writer"), await world.connect("reader")];
    const seen: number[] = [];
    reading.read({
      stream: t.streams.log,
      filters: [t.log("core", 0)],
      from: { sequence: 1 },
      onMessage: (m) => seen.push(m.sequence),
    });
    const first = (await writer.last(t.streams.log, t.log("core", 0)))?.sequence ?? 0;
    const acked: number[] = [first];
    for (const server of cluster.servers.slice(0, 2)) {
      for (let i = 0; i < 200; i++) {
        if (i === 50) await server.kill();
        const last = acked.at(-1) ?? 0;
        const outcome = await writer.append({ subject: t.log("core", 0), data, expectLastSequence: last });
        if (outcome.kind === "stored") acked.push(outcome.sequence);
        // J10: what became of it, the leader knows.
        else await until(() => adopt(acked), "a leader");
      }
      await server.restart();
      await cluster.waitUntilReady();
    }
    async function adopt(sequences: number[]): Promise<boolean> {
      try {
        const end = (await writer.last(t.streams.log, t.log("core", 0)))?.sequence ?? 0;
        if (end > (sequences.at(-1) ?? 0)) sequences.push(end);
        return true;
      } catch {
        return false;
      }
    }
    await until(() => seen.at(-1) === acked.at(-1), "everything is read");
    expect(seen).toEqual(acked);
  }, 90_000);
});
