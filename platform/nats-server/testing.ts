import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep, systemClock } from "../clock.ts";
import { systemRandom } from "../random.ts";
import { freePorts } from "./ports.ts";
import { resolveNatsServer } from "./resolve.ts";
import { type NatsServer, startNatsServer, type StartOptions } from "./server.ts";
import { testEnv } from "./test-config.ts";

export type TestServerOptions = Partial<
  Pick<
    StartOptions,
    "port" | "syncInterval" | "maxFileStoreBytes" | "serverName" | "extraConfig" | "log" | "cluster"
  >
>;

export interface TestCluster {
  readonly servers: readonly NatsServer[];
  /** All client URLs, for `connectNats`. */
  readonly urls: readonly string[];
  /** Waits until all running servers are current and agree on a meta leader; returns that server. */
  waitUntilReady(): Promise<NatsServer>;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const CLUSTER_SIZE = 3;
/** The first election takes up to 9 s on a quiet machine. */
const CLUSTER_READY_MS_MAX = 60_000;
const POLL_MS = 50;

let binary: Promise<string> | undefined;

/** Path of the server the tests use; found or obtained once per process. */
export function testBinary(): Promise<string> {
  binary ??= resolveNatsServer({ env: testEnv }).then(({ path }) => path);
  return binary;
}

/**
 * A server with a data folder and ports of its own; both go with `stop`, or with the test process however it ends.
 * `kill`, `restart`, `freeze` and `resume` keep both.
 */
export async function testServer(options: TestServerOptions = {}): Promise<NatsServer & AsyncDisposable> {
  const dataDir = mkdtempSync(join(tmpdir(), "tradewind-nats-"));
  try {
    const server = await startNatsServer({
      binary: await testBinary(),
      ...options,
      dataDir,
      temporary: true,
    });
    return Object.assign(server, { [Symbol.asyncDispose]: () => server.stop() });
  } catch (error) {
    rmSync(dataDir, { recursive: true, force: true });
    throw error;
  }
}

/** Three servers that form one JetStream cluster, ready for replicated streams. */
export async function testCluster(
  options: Omit<TestServerOptions, "cluster" | "serverName" | "port"> = {},
): Promise<TestCluster> {
  const routePorts = await freePorts(CLUSTER_SIZE, () => systemRandom.float());
  const started = await Promise.allSettled(
    routePorts.map((port, index) =>
      testServer({ ...options, serverName: `n${index + 1}`, cluster: { name: "test", port, routePorts } }),
    ),
  );
  const servers = started.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const stop = async () => void (await Promise.all(servers.map((server) => server.stop())));
  const cluster: TestCluster = {
    servers,
    get urls() {
      return servers.map(({ url }) => url);
    },
    waitUntilReady: () => waitUntilReady(servers),
    stop,
    [Symbol.asyncDispose]: stop,
  };
  try {
    for (const result of started) if (result.status === "rejected") throw result.reason as Error;
    await cluster.waitUntilReady();
    return cluster;
  } catch (error) {
    await stop();
    throw error;
  }
}

async function waitUntilReady(servers: readonly NatsServer[]): Promise<NatsServer> {
  const giveUpMs = systemClock.monotonicMs() + CLUSTER_READY_MS_MAX;
  const seen: (string | undefined)[] = [];
  while (systemClock.monotonicMs() < giveUpMs) {
    const running = servers.filter((server) => server.isRunning);
    const leaders = await Promise.all(running.map(leaderSeenBy));
    const [leader] = leaders;
    const index = Number(leader?.slice(1)) - 1;
    const server = servers[index];
    if (server?.isRunning === true && leaders.every((name) => name === leader)) return server;
    seen.splice(0, Infinity, ...leaders);
    await sleep(systemClock, POLL_MS);
  }
  throw new Error(
    `the cluster has no leader after ${CLUSTER_READY_MS_MAX} ms; its members see ${seen.join(", ")}`,
  );
}

/** Undefined while the member is not current or knows no leader. */
async function leaderSeenBy({ monitorUrl }: NatsServer): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(2_000);
    const health = await fetch(`${monitorUrl}/healthz`, { signal });
    await health.arrayBuffer();
    if (!health.ok) return undefined;
    const jsz = await fetch(`${monitorUrl}/jsz`, { signal });
    const { meta_cluster: meta } = (await jsz.json()) as {
      meta_cluster?: { leader?: string; cluster_size?: number };
    };
    return meta?.cluster_size === CLUSTER_SIZE && meta.leader !== "" ? meta.leader : undefined;
  } catch {
    return undefined;
  }
}
