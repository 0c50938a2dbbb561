import { resolveNatsServer, type NatsServer } from "../platform/nats-server/index.ts";
import { testCluster, testServer } from "../platform/nats-server/testing.ts";

/** One nats-server or a cluster of three, on data of their own. */
export interface Servers {
  readonly version: string;
  /** For NATS_URL. */
  readonly url: string;
  readonly members: readonly NatsServer[];
  stop(): Promise<void>;
}

export interface ServersOptions {
  readonly syncInterval: string;
  readonly replicas: 1 | 3;
  /** Port of Go's profiler, of one server alone. */
  readonly profPort?: number;
}

/** Starts them below TMPDIR; everything goes with `stop`, or with this process however it ends. */
export async function startServers({ syncInterval, replicas, profPort }: ServersOptions): Promise<Servers> {
  const progress = (line: string) => console.error(line);
  const { version } = await resolveNatsServer({ env: process.env, progress });
  if (replicas === 3) {
    const cluster = await testCluster({ syncInterval });
    const { servers: members, urls } = cluster;
    return { version, url: urls.join(","), members, stop: () => cluster.stop() };
  }
  const extraConfig = profPort === undefined ? {} : { extraConfig: `prof_port: ${profPort}` };
  const server = await testServer({ syncInterval, ...extraConfig });
  return { version, url: server.url, members: [server], stop: () => server.stop() };
}

/** What one stream holds. */
export interface StreamFigures {
  readonly messages: number;
  readonly bytes: number;
}

/** Streams by name, and all consumers, as the servers' monitoring tells. */
export async function streamFigures({
  members,
}: Servers): Promise<{ readonly streams: ReadonlyMap<string, StreamFigures>; readonly consumers: number }> {
  const streams = new Map<string, StreamFigures>();
  let consumers = 0;
  for (const { monitorUrl } of members) {
    const answer = await fetch(`${monitorUrl}/jsz?streams=true`, { signal: AbortSignal.timeout(10_000) });
    const jsz = (await answer.json()) as {
      consumers?: number;
      account_details?: {
        stream_detail?: { name: string; state: { messages: number; bytes: number } }[];
      }[];
    };
    consumers = Math.max(consumers, jsz.consumers ?? 0);
    for (const { stream_detail: details = [] } of jsz.account_details ?? []) {
      for (const { name, state } of details)
        streams.set(name, { messages: state.messages, bytes: state.bytes });
    }
  }
  return { streams, consumers };
}
