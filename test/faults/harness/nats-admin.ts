import { jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { NatsServer } from "../../../platform/nats-server/index.ts";
import type { FaultSystem } from "./fault-system.ts";

/** What an operator with all rights does to NATS, beside the system. */
export interface NatsAdmin extends AsyncDisposable {
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
}

export async function natsAdmin(system: FaultSystem): Promise<NatsAdmin> {
  const nc = await connect({ servers: system.nats.map(({ url }) => url), name: "fault test" });
  const jsm = await jetstreamManager(nc);
  return { nc, jsm, [Symbol.asyncDispose]: () => nc.close() };
}

/** The server that leads a stream. */
export async function leaderOf(system: FaultSystem, stream: string): Promise<NatsServer> {
  await using admin = await natsAdmin(system);
  const { cluster } = await admin.jsm.streams.info(stream);
  const index = Number(cluster?.leader?.replace(/^n/, "")) - 1;
  const server = system.nats[index] ?? (system.nats.length === 1 ? system.nats[0] : undefined);
  if (server === undefined) throw new Error(`stream ${stream} has no leader`);
  return server;
}
