import { resolveNatsServer, type NatsServer } from "../platform/nats-server/index.ts";
import { testCluster, testServer } from "../platform/nats-server/testing.ts";

/** One nats-server or a cluster of three, on data of their own. */
export interface Servers {
  readonly name: string;
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
  const name = "natsServer";
  const progress = (line: string) => console.error(line);
  const { version } = await resolveNatsServer({ env: process.env, progress });
  if (replicas === 3) {
    const cluster = await testCluster({ syncInterval });
    const { servers: members, urls } = cluster;
    return { name, version, url: urls.join(","), members, stop: () => cluster.stop() };
  }
  const extraConfig = profPort === undefined ? {} : { extraConfig: `prof_port: ${profPort}` };
  const server = await testServer({ syncInterval, ...extraConfig });
  return { name, version, url: server.url, members: [server], stop: () => server.stop() };
}

/** What one stream holds, and the sequence of its last message: how many were ever stored. */
export interface StreamFigures {
  readonly messages: number;
  readonly bytes: number;
  readonly lastSequence: number;
}

/** What the servers' monitoring tells of all of them together. */
export interface ServerFigures {
  readonly streams: ReadonlyMap<string, StreamFigures>;
  readonly consumers: number;
  /** Messages that clients have sent to the servers and got from them. */
  readonly messagesIn: number;
  readonly messagesOut: number;
}

interface Jsz {
  readonly consumers?: number;
  readonly account_details?: readonly {
    readonly stream_detail?: readonly {
      readonly name: string;
      readonly state: { readonly messages: number; readonly bytes: number; readonly last_seq: number };
    }[];
  }[];
}

interface Varz {
  readonly in_msgs: number;
  readonly out_msgs: number;
}

const MONITOR_MS_MAX = 10_000;

export async function serverFigures({ members }: Servers): Promise<ServerFigures> {
  const streams = new Map<string, StreamFigures>();
  let [consumers, messagesIn, messagesOut] = [0, 0, 0];
  for (const { monitorUrl } of members) {
    const { in_msgs, out_msgs } = (await monitor(`${monitorUrl}/varz`)) as Varz;
    messagesIn += in_msgs;
    messagesOut += out_msgs;
    const jsz = (await monitor(`${monitorUrl}/jsz?streams=true`)) as Jsz;
    consumers = Math.max(consumers, jsz.consumers ?? 0);
    for (const { stream_detail: details = [] } of jsz.account_details ?? []) {
      for (const { name, state } of details) {
        const { messages, bytes, last_seq: lastSequence } = state;
        // Of replicas the one that is furthest.
        if (lastSequence >= (streams.get(name)?.lastSequence ?? 0))
          streams.set(name, { messages, bytes, lastSequence });
      }
    }
  }
  return { streams, consumers, messagesIn, messagesOut };
}

async function monitor(url: string): Promise<unknown> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(MONITOR_MS_MAX) });
  return answer.json();
}
