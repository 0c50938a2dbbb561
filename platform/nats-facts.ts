import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";

const TIMEOUT_MS = 3_000;

/** What JetStream grants the account of a connection. */
export interface AccountFacts {
  readonly apiLevel: number;
  readonly storageBytes: number;
  /** Infinity without a limit of the account; the server's own limit is in {@link MonitorFacts}. */
  readonly storageBytesMax: number;
  readonly streams: number;
}

/** @throws Error with the server's words when JetStream is off for this account, or does not answer */
export async function accountFacts(nc: NatsConnection): Promise<AccountFacts> {
  const manager = await jetstreamManager(nc, { timeout: TIMEOUT_MS, checkAPI: false });
  const { api, storage, limits, streams } = await manager.getAccountInfo();
  const { max_storage: max } = limits;
  return {
    apiLevel: api.level ?? 0,
    storageBytes: storage,
    storageBytesMax: max > 0 ? max : Infinity,
    streams,
  };
}

/** The server's clock, from the answer about a stream that exists; undefined if it does not tell. */
export async function serverTimeMs(nc: NatsConnection, stream: string): Promise<number | undefined> {
  const answer = await nc.request(`$JS.API.STREAM.INFO.${stream}`, "", { timeout: TIMEOUT_MS });
  const { ts } = answer.json<{ ts?: string }>();
  return ts === undefined ? undefined : Date.parse(ts);
}

/** What the monitoring port of a server says. */
export interface MonitorFacts {
  readonly serverId: string;
  readonly clusterName: string;
  readonly version: string;
  readonly nowMs: number;
  /** Every ack means on disk. */
  readonly syncAlways: boolean;
  /** Empty without JetStream. */
  readonly storeDir: string;
  readonly storageBytes: number;
  /** Of all accounts together. */
  readonly storageBytesMax: number;
}

interface Varz {
  readonly server_id?: string;
  readonly version?: string;
  readonly now?: string;
  readonly cluster?: { readonly name?: string };
  readonly jetstream?: {
    readonly config?: {
      readonly sync_always?: boolean;
      readonly store_dir?: string;
      readonly max_storage?: number;
    };
    readonly stats?: { readonly storage?: number };
  };
}

/** Reads `/varz`. @throws Error when nothing answers there, or something that is no nats-server */
export async function monitorFacts(url: string): Promise<MonitorFacts> {
  const response = await fetch(`${url}/varz`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  const { server_id: serverId, version, now, cluster, jetstream } = (await response.json()) as Varz;
  if (!response.ok || serverId === undefined)
    throw new Error(`${url} is no monitoring port of a nats-server`);
  const { config = {}, stats = {} } = jetstream ?? {};
  return {
    serverId,
    clusterName: cluster?.name ?? "",
    version: version ?? "",
    nowMs: Date.parse(now ?? ""),
    syncAlways: config.sync_always === true,
    storeDir: config.store_dir ?? "",
    storageBytes: stats.storage ?? 0,
    storageBytesMax: config.max_storage ?? Infinity,
  };
}
