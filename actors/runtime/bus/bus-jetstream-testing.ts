import { sleep, systemClock } from "../../../platform/clock.ts";
import { silentLogger } from "../../../platform/log.ts";
import { connectNats, type NatsConnection } from "../../../platform/nats.ts";
import { ensureTopology } from "./bootstrap-jetstream.ts";
import type { BusWorld } from "./bus-context.contract.ts";
import { createJetStreamBus, type JetStreamBus } from "./bus-jetstream.ts";
import { Requests } from "./requests-jetstream.ts";
import { createTopology } from "../topology.ts";

/** A follower has what the leader has sent and stores it a moment later. */
const APPLY_MS = 20;

/** The servers that a contract runs on. */
export interface Servers {
  readonly urls: readonly string[];
  readonly replicas: number;
  kill(): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** A world with access to the JetStream API beside the bus. */
export interface JetStreamWorld extends BusWorld {
  readonly admin: Requests;
}

/** Connects to the servers and makes the streams. */
export async function worldOn(servers: Servers): Promise<JetStreamWorld> {
  const topology = createTopology({ logs: 4 });
  const connections: NatsConnection[] = [];
  const buses: JetStreamBus[] = [];
  const log = silentLogger;
  const open = async (name: string) => {
    const nc = await connectNats({ servers: servers.urls, name, log });
    connections.push(nc);
    return nc;
  };
  const admin = new Requests(await open("admin"), systemClock);
  await ensureTopology({ nc: admin.nc, topology, log, replicas: servers.replicas });
  return {
    topology,
    admin,
    connect: async (name) => {
      const bus = createJetStreamBus({ nc: await open(name), log });
      buses.push(bus);
      return bus;
    },
    nowMs: () => systemClock.nowMs(),
    pass: (ms) => sleep(systemClock, ms),
    stopServers: () => servers.kill(),
    startServers: () => servers.restart(),
    deleteConsumers: async (stream) => {
      const { consumers } = await admin.api<{ consumers?: string[] }>(`CONSUMER.NAMES.${stream}`);
      for (const name of consumers ?? []) await admin.api(`CONSUMER.DELETE.${stream}.${name}`);
    },
    replicated: (stream) => (servers.replicas > 1 ? replicated(admin, stream) : Promise.resolve()),
    limitBytes: async (stream, bytesMax) => {
      const { config } = await admin.api<{ config: object }>(`STREAM.INFO.${stream}`);
      await admin.api(`STREAM.UPDATE.${stream}`, {
        ...config,
        max_bytes: bytesMax === Infinity ? -1 : bytesMax,
      });
    },
    close: async () => {
      for (const bus of buses) bus.close();
      admin.close();
      await Promise.all(connections.map((nc) => nc.close()));
      await servers.stop();
    },
  };
}

interface Replica {
  readonly current: boolean;
  readonly lag?: number;
}

async function replicated(admin: Requests, stream: string): Promise<void> {
  for (let tries = 0; tries < 250; tries++) {
    const { cluster } = await admin.api<{ cluster?: { replicas?: readonly Replica[] } }>(
      `STREAM.INFO.${stream}`,
    );
    const replicas = cluster?.replicas ?? [];
    await sleep(systemClock, APPLY_MS);
    if (replicas.length > 0 && replicas.every(({ current, lag = 0 }) => current && lag === 0)) return;
  }
  throw new Error(`the replicas of ${stream} are not equal`);
}
