/** Gateway role: `node gateway/main.ts`, and the start functions that the command line shares with it. */
import { readFileSync } from "node:fs";
import {
  type ActorClient,
  type Bus,
  createActorClient,
  createJetStreamBus,
  storedTopology,
  type Topology,
} from "../actors/runtime/index.ts";
import { startAdminServer } from "../platform/admin-server.ts";
import { type Clock, sleep, systemClock, type TimerHandle } from "../platform/clock.ts";
import { readConfig } from "../platform/config.ts";
import { createHealth, type Health } from "../platform/health.ts";
import { createLogger, type Logger } from "../platform/log.ts";
import { processMetrics } from "../platform/metrics.ts";
import { connectNats, type NatsConnection } from "../platform/nats.ts";
import { systemRandom } from "../platform/random.ts";
import { createShutdown, type Shutdown } from "../platform/shutdown.ts";
import { OrderStateSchema } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { StockStateSchema } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { loopbackAuthenticator } from "./call-scope.ts";
import { type GatewayConfig, gatewaySettings } from "./config.ts";
import { createFigureBoard } from "./figure-board.ts";
import { originRule } from "./http.ts";
import { GATEWAY_LIMITS } from "./limits.ts";
import type { NatsProbe } from "./ops-service.ts";
import { createProductCache } from "./product-cache.ts";
import { createRecordFeeds } from "./record-feed.ts";
import { registerServices } from "./routes.ts";
import { startGatewayServer } from "./server.ts";
import type { ServiceDeps } from "./service-deps.ts";
import { registerSystemMetrics } from "./system-metrics.ts";
import { createTenantCache } from "./tenant-cache.ts";

/** Variables of the environment, as a role gets them. */
export type Env = Readonly<Record<string, string | undefined>>;

/** What a role needs of its process. Parts that it starts are stopped by `shutdown`, in reverse order. */
export interface ProcessParts {
  readonly log: Logger;
  readonly health: Health;
  readonly shutdown: Shutdown;
}

/** A gateway role that runs. */
export interface GatewayRole {
  readonly url: string;
}

/** Everybody is this until there are credentials. */
const IDENTITY = { tenant: "demo", principal: "anonymous" };
const WATCH_MS = 250;
/** The streams are made by the first worker; a gateway that is there before it waits so long. */
const STREAMS_MS_MAX = 60_000;
const STREAMS_POLL_MS = 100;

/**
 * Connects, waits for the streams, and serves the API until `shutdown` drains it.
 * @throws ConfigError, NatsConnectError, or an error with exit code 69 when there are no streams
 */
export async function startGatewayRole(
  { log, health, shutdown }: ProcessParts,
  env: Env,
): Promise<GatewayRole> {
  const config = readConfig(gatewaySettings, env);
  const nc = await connectNats({
    servers: config.natsUrl ?? "nats://127.0.0.1:4222",
    name: "tradewind gateway",
    log,
    credentials: config,
    signal: shutdown.signal,
  });
  // While the server is away there is nothing to drain.
  shutdown.add("nats connection", () => nc.drain().catch(() => nc.close()));
  const bus = createJetStreamBus({ nc, log });
  shutdown.add("bus", () => bus.close());
  const topology = await madeTopology(nc, bus, systemClock, shutdown.signal);
  const client = createActorClient({ bus, clock: systemClock, random: systemRandom, log, topology });
  shutdown.add("actor client", () => client.close());
  const deps = serviceDeps(client, config);
  shutdown.add("caches", () => {
    for (const part of [deps.products, deps.tenants, deps.orderFeeds, deps.stockFeeds]) part.close();
  });
  watchNats(bus, health, shutdown, systemClock);
  registerSystemMetrics(processMetrics, client, topology);
  const server = await startGatewayServer({
    host: config.host,
    port: config.port,
    register: (table) =>
      registerServices(table, deps, { bus, topology, health, nats: natsProbe(nc), build: buildFacts() }),
    authenticator: loopbackAuthenticator(IDENTITY, config.open),
    admission: [{ admit: ({ isWrite }) => (isWrite ? client.refusal() : undefined) }],
    originRule: originRule(config.corsOrigins),
    health,
    log: log.child({ component: "gateway" }),
    metrics: processMetrics,
    clock: systemClock,
    random: systemRandom,
    limits: deps.limits,
  });
  shutdown.add("gateway", () => server.drain());
  log.info({ url: server.url }, "gateway listens");
  return { url: server.url };
}

function serviceDeps(client: ActorClient, config: GatewayConfig): ServiceDeps {
  const { callsInFlightMax, streamsOpenMax, drainDelayMs } = config;
  const limits = { ...GATEWAY_LIMITS, callsInFlightMax, streamsOpenMax, drainDelayMs };
  const feed = {
    client,
    clock: systemClock,
    replayMax: limits.watchReplayMax,
    lingerMs: limits.watchLingerMs,
  };
  return {
    client,
    clock: systemClock,
    random: systemRandom,
    limits,
    products: createProductCache(client, systemClock),
    tenants: createTenantCache(client, systemClock),
    board: createFigureBoard(systemClock),
    orderFeeds: createRecordFeeds({ ...feed, kind: "order", schema: OrderStateSchema }),
    stockFeeds: createRecordFeeds({ ...feed, kind: "stock", schema: StockStateSchema }),
  };
}

/** The streams as a worker has made them. */
async function madeTopology(
  nc: NatsConnection,
  bus: Bus,
  clock: Clock,
  signal: AbortSignal,
): Promise<Topology> {
  const giveUpMs = clock.monotonicMs() + STREAMS_MS_MAX;
  for (;;) {
    const topology = await storedTopology(nc, clock).catch(() => undefined);
    const names = Object.values(topology?.streams ?? {});
    const found = await Promise.allSettled(names.map((name) => bus.status(name)));
    if (topology !== undefined && found.every(({ status }) => status === "fulfilled")) return topology;
    signal.throwIfAborted();
    if (clock.monotonicMs() > giveUpMs) {
      const text = `NATS has no streams of Tradewind after ${STREAMS_MS_MAX / 1_000} s: start a worker, it makes them`;
      throw Object.assign(new Error(text), { exitCode: 69 });
    }
    await sleep(clock, STREAMS_POLL_MS, signal);
  }
}

/** Readiness, and with it grpc.health.v1, follows the connection. */
function watchNats(bus: Bus, health: Health, shutdown: Shutdown, clock: Clock): void {
  let timer: TimerHandle;
  const look = () => {
    if (bus.isConnected()) health.ok("gateway nats");
    else health.fail("gateway nats", "no connection");
    timer = clock.setTimer(look, WATCH_MS);
  };
  look();
  shutdown.add("nats watch", () => timer.cancel());
}

function natsProbe(nc: NatsConnection): NatsProbe {
  return {
    facts: async () => {
      const roundTripMs = await nc.rtt();
      return { serverName: nc.info?.server_name ?? "", serverVersion: nc.info?.version ?? "", roundTripMs };
    },
  };
}

function buildFacts() {
  const file = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(file) as { version: string };
  return { version, runtime: `node ${process.versions.node}`, startedMs: systemClock.nowMs() };
}

/** The gateway as a process of its own: log, health, admin port, signals. */
export async function runGatewayProcess(env: Env): Promise<void> {
  const config = readConfig(gatewaySettings, env);
  const log = createLogger({
    role: "gateway",
    level: config.logLevel,
    pretty: process.stdout.isTTY === true,
  });
  const health = createHealth();
  health.register("gateway");
  const shutdown = createShutdown({ log, deadlineMs: config.shutdownDeadlineMs });
  shutdown.onSignals();
  try {
    const { adminHost: host, adminPort: port } = config;
    const admin = await startAdminServer({ host, port, health, info: { role: "gateway" } });
    shutdown.add("admin server", () => admin.close());
    await startGatewayRole({ log, health, shutdown }, env);
    health.ok("gateway");
    log.info({ adminPort: admin.port }, "started");
  } catch (err) {
    log.fatal({ err }, "start failed");
    await shutdown.stop("start failed");
    process.exit((err as { exitCode?: number }).exitCode ?? 1);
  }
}

if (import.meta.main) {
  try {
    await runGatewayProcess(process.env);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit((error as { exitCode?: number }).exitCode ?? 1);
  }
}
