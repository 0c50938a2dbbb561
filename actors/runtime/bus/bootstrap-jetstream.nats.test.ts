import { fromBinary } from "@bufbuild/protobuf";
import { Kvm } from "@nats-io/kv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../../platform/clock.ts";
import { silentLogger as log } from "../../../platform/log.ts";
import { connectNats, type NatsConnection } from "../../../platform/nats.ts";
import { testServer } from "../../../platform/nats-server/testing.ts";
import { CommitKind, CommitSchema } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { ensureTopology, storedTopology } from "./bootstrap-jetstream.ts";
import { TopologyError } from "./bootstrap.ts";
import { createJetStreamBus, type JetStreamBus } from "./bus-jetstream.ts";
import { Requests } from "./requests-jetstream.ts";
import { createTopology } from "../topology.ts";

let server: Awaited<ReturnType<typeof testServer>>;
let nc: NatsConnection;
let bus: JetStreamBus;
let admin: Requests;
let shards = 0;

beforeAll(async () => {
  server = await testServer();
  nc = await connectNats({ servers: server.url, name: "test", log });
  bus = createJetStreamBus({ nc, log });
  admin = new Requests(nc, systemClock);
});

afterAll(async () => {
  bus.close();
  admin.close();
  await nc.close();
  await server.stop();
});

/** A set of streams of its own. */
async function made(logs = 4) {
  const shard = `s${++shards}`;
  const topology = createTopology({ shard, logs });
  await ensureTopology({ nc, topology, log });
  return { shard, topology };
}

interface Config {
  readonly description: string;
  readonly metadata: Record<string, string>;
  readonly max_bytes: number;
  readonly discard: string;
}

async function configOf(stream: string): Promise<Config> {
  return (await admin.api<{ config: Config }>(`STREAM.INFO.${stream}`)).config;
}

describe("ensureTopology", () => {
  it("gives every log of every group its first message, once, however many call it", async () => {
    const topology = createTopology({ shard: "many" });
    await Promise.all(Array.from({ length: 4 }, () => ensureTopology({ nc, topology, log })));
    const { streams } = topology;
    expect(await bus.subjects(streams.log, ">")).toEqual(
      new Map(
        topology.groups.flatMap(({ name, logs }) =>
          Array.from({ length: logs }, (_, l) => [topology.log(name, l), 1] as const),
        ),
      ),
    );
    const [inbox, events] = await Promise.all([bus.status(streams.inbox), bus.status(streams.events)]);
    for (const [group, stream, { createdAtMs }] of [
      ["core", streams.inbox, inbox],
      ["analytics", streams.events, events],
    ] as const) {
      const first = await bus.last(streams.log, topology.log(group, 0));
      const commit = fromBinary(CommitSchema, first?.data ?? new Uint8Array());
      expect(commit).toMatchObject({ kind: CommitKind.GENESIS, epoch: 0n, owner: "" });
      const position = { stream, sequence: 0n, whole: true, streamCreatedMs: BigInt(createdAtMs) };
      expect(commit.positions).toContainEqual(expect.objectContaining(position));
    }
  });

  it("describes every stream", async () => {
    const { topology } = await made();
    for (const stream of Object.values(topology.streams)) {
      const { description, metadata } = await configOf(stream);
      expect(description).toMatch(/^Tradewind: /);
      expect(metadata).toMatchObject({ "tradewind.owner": "tradewind" });
    }
    expect((await configOf(topology.streams.log)).metadata).toMatchObject({
      "tradewind.logs.core": "4",
      "tradewind.logs.analytics": "4",
    });
  });

  it("shares a store out, with no limit on what must not refuse, and may change the shares later", async () => {
    const topology = createTopology({ shard: "bytes" });
    await ensureTopology({ nc, topology, log, storeBytesMax: 100_000_000 });
    const bytesMax = async () =>
      Promise.all(Object.values(topology.streams).map(async (name) => (await configOf(name)).max_bytes));
    const shares = (await bytesMax()).filter((bytes) => bytes > 0);
    expect(shares).toHaveLength(5);
    expect(shares.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(75_000_000);
    expect((await configOf(topology.streams.inbox)).max_bytes).toBe(-1);
    await ensureTopology({ nc, topology, log });
    expect(await bytesMax()).toEqual(shares.map(() => -1).concat([-1, -1]));
    expect((await bus.status(topology.streams.events)).bytesMax).toBe(Infinity);
  });

  it("finds streams with as many logs as they were made with", async () => {
    expect(await storedTopology(nc)).toBeUndefined();
    const topology = createTopology({ logs: 3, analyticsLogs: 2 });
    await ensureTopology({ nc, topology, log });
    const stored = await storedTopology(nc);
    expect(stored?.groups).toEqual(topology.groups);
    expect(stored?.streams).toEqual(topology.streams);
  });

  it("refuses another number of logs", async () => {
    const { shard } = await made(4);
    const topology = createTopology({ shard, logs: 8 });
    await expect(ensureTopology({ nc, topology, log })).rejects.toThrow(
      "group core was created with 4 logs, configured are 8",
    );
  });

  it("refuses a stream that differs in what matters, and says how", async () => {
    const { topology } = await made();
    const { events } = topology.streams;
    await admin.api(`STREAM.UPDATE.${events}`, {
      ...(await configOf(events)),
      max_age: 3_600_000_000_000,
      discard: "old",
    });
    const error = await ensureTopology({ nc, topology, log }).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(TopologyError);
    expect(String(error)).toContain(
      `stream ${events} is not as needed: discardNew is false, needed is true; messages have a maximum age`,
    );
  });

  it("refuses to run on with streams that were deleted", async () => {
    const first = await made();
    await admin.api(`STREAM.DELETE.${first.topology.streams.inbox}`);
    await expect(ensureTopology({ nc, topology: first.topology, log })).rejects.toThrow(
      `${first.topology.streams.inbox} is missing`,
    );
    const { topology } = await made();
    await bus.append({ subject: topology.record("order", "acme", "K"), data: Buffer.from("x") });
    await admin.api(`STREAM.DELETE.${topology.streams.log}`);
    await expect(ensureTopology({ nc, topology, log })).rejects.toThrow(`${topology.streams.log} is missing`);
  });

  it("takes up streams that another process makes and fills while it looks for them", async () => {
    const topology = createTopology({ shard: "meanwhile" });
    const { actors } = topology.streams;
    let isOther = true;
    const otherProcess = async () => {
      isOther = false;
      await ensureTopology({ nc, topology, log });
      const subject = topology.record("order", "demo", "one");
      expect(await bus.append({ subject, data: new Uint8Array(1) })).toMatchObject({ kind: "stored" });
    };
    const delayed = new Proxy(nc, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        if (name !== "publish") return value.bind(target) as unknown;
        return (subject: string, ...rest: unknown[]) => {
          const send = () => void Reflect.apply(value, target, [subject, ...rest]);
          if (isOther && subject === `$JS.API.STREAM.INFO.${actors}`) void otherProcess().then(send);
          else send();
        };
      },
    });
    await ensureTopology({ nc: delayed, topology, log });
  });

  it("makes buckets that key-value clients can use", async () => {
    const { shard, topology } = await made();
    const kv = await new Kvm(nc).open(`actors_${shard}`);
    await bus.append({ subject: topology.record("order", "acme", "K1"), data: Buffer.from("record") });
    expect((await kv.get("order.acme.K1"))?.string()).toBe("record");
    await kv.put("order.acme.K2", "by hand");
    await kv.delete("order.acme.K1");
    expect(await bus.last(topology.streams.actors, topology.record("order", "acme", "K1"))).toMatchObject({
      headers: { "KV-Operation": "DEL" },
    });
    const status = await kv.status();
    expect(status).toMatchObject({
      bucket: `actors_${shard}`,
      history: 1,
      description: expect.stringMatching(/^Tradewind/),
    });
  });

  it("says at once when the store is smaller than its shares", async () => {
    const small = await testServer({ maxFileStoreBytes: 50_000_000 });
    const connection = await connectNats({ servers: small.url, name: "test", log });
    const topology = createTopology({ logs: 4 });
    await expect(
      ensureTopology({ nc: connection, topology, log, storeBytesMax: 10_000_000_000 }),
    ).rejects.toThrow(/10047/);
    await connection.close();
    await small.stop();
  });

  it("makes the leases again, which hold nothing that lasts", async () => {
    const { topology } = await made();
    await admin.api(`STREAM.DELETE.${topology.streams.leases}`);
    await ensureTopology({ nc, topology, log });
    expect((await bus.status(topology.streams.leases)).messages).toBe(0);
  });
});
