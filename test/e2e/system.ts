import type { DescService, MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { startWorkerRole } from "../../actors/main.ts";
import { type PspServer, startPspServer } from "../../actors/psp/psp-server.ts";
import {
  type ActorClient,
  type Bus,
  createActorClient,
  createJetStreamBus,
  createTopology,
  storedTopology,
  type Topology,
} from "../../actors/runtime/index.ts";
import { startGatewayRole } from "../../gateway/main.ts";
import { systemClock } from "../../platform/clock.ts";
import { createHealth } from "../../platform/health.ts";
import { silentLogger } from "../../platform/log.ts";
import { connectNats } from "../../platform/nats.ts";
import type { NatsServer } from "../../platform/nats-server/index.ts";
import { testServer } from "../../platform/nats-server/testing.ts";
import { systemRandom } from "../../platform/random.ts";
import { createShutdown } from "../../platform/shutdown.ts";
import {
  TenantActor,
  type TenantSettingsSchema,
} from "../../proto/gen/tradewind/actors/tenant/v1/tenant_actor_pb.ts";
import { CatalogService } from "../../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import { until } from "./calls.ts";

const STOP_MS = 15_000;
/** So many that orders and stock lie in different ones. */
const LOGS = 4;
const SETTINGS_MS_MAX = 10_000;
export const TENANT = "demo";

/** A part of the system that was started. */
export interface Part {
  stop(): Promise<void>;
}

export interface SystemOptions {
  /** Settings of the tenant `demo`, set before the gateway starts. */
  readonly settings?: MessageInitShape<typeof TenantSettingsSchema>;
  /** Groups whose worker runs in this process; both by default. */
  readonly groups?: readonly string[];
}

/** A whole system: nats-server that syncs always, gateway and workers as their roles start them, psp over HTTP. */
export interface System extends AsyncDisposable {
  readonly nats: NatsServer;
  /** Of the gateway. */
  readonly url: string;
  readonly psp: PspServer;
  /** For roles that a test starts as processes of their own. */
  readonly env: Readonly<Record<string, string>>;
  /** Door behind the API, for what callers cannot do: settings, and messages that no part of the system sends. */
  readonly back: { readonly bus: Bus; readonly topology: Topology; readonly client: ActorClient };
  client<S extends DescService>(service: S, url?: string): Client<S>;
  /** Creates a product with stock; 10.00 EUR without tax unless given. */
  product(id: string, stock: bigint, price?: bigint, taxRateBp?: number): Promise<void>;
  /** The workers that run in this process, at most one set at a time. */
  startWorkers(groups?: readonly string[]): Promise<void>;
  stopWorkers(): Promise<void>;
  /** One more gateway. @returns its URL, and how to stop it */
  startGateway(): Promise<Part & { readonly url: string }>;
}

export async function startSystem(options: SystemOptions = {}): Promise<System> {
  const { settings, groups = ["core", "analytics"] } = options;
  const [nats, psp] = await Promise.all([testServer(), startPspServer({ clock: systemClock, port: 0 })]);
  const env = { NATS_URL: nats.url, PSP_URL: psp.url, PORT: "0", WORKER_ID: "w-test", LOGS: String(LOGS) };
  let workers = groups.length > 0 ? await startWorkers(env, groups) : undefined;
  const back = await openBackDoor(nats.url);
  if (settings !== undefined) await configure(back.client, settings);
  const gateway = groups.length > 0 ? await startGateway(env) : undefined;
  const url = gateway?.url ?? "";
  const client = <S extends DescService>(service: S, baseUrl = url): Client<S> =>
    createClient(service, createConnectTransport({ baseUrl, httpVersion: "2" }));
  const stopWorkers = async () => {
    await workers?.stop();
    workers = undefined;
  };
  return {
    nats,
    url,
    psp,
    env,
    back,
    client,
    product: async (productId, initialStock, minorUnits = 1_000n, taxRateBp = 0) => {
      const price = { currencyCode: "EUR", minorUnits };
      await client(CatalogService).createProduct({
        productId,
        name: productId,
        price,
        initialStock,
        taxRateBp,
      });
    },
    startWorkers: async (wanted = ["core", "analytics"]) => {
      workers = await startWorkers(env, wanted);
    },
    stopWorkers,
    startGateway: () => startGateway(env),
    [Symbol.asyncDispose]: async () => {
      await gateway?.stop();
      await back.close();
      await stopWorkers();
      await Promise.all([nats.stop(), psp.close()]);
    },
  };
}

function processParts() {
  const shutdown = createShutdown({ log: silentLogger, deadlineMs: STOP_MS });
  const stop = async () => void (await shutdown.stop("test"));
  return { parts: { log: silentLogger, health: createHealth(), shutdown }, stop };
}

async function startWorkers(env: System["env"], groups: readonly string[]): Promise<Part> {
  const { parts, stop } = processParts();
  const worker = await startWorkerRole(parts, env, groups);
  await until(() => worker.ownsAll());
  return { stop };
}

async function startGateway(env: System["env"]): Promise<Part & { readonly url: string }> {
  const { parts, stop } = processParts();
  const { url } = await startGatewayRole(parts, env);
  return { url, stop };
}

async function openBackDoor(servers: string) {
  const log = silentLogger;
  const nc = await connectNats({ servers, name: "test", log });
  const bus = createJetStreamBus({ nc, log });
  const topology = (await storedTopology(nc)) ?? createTopology({ logs: LOGS });
  const client = createActorClient({ bus, clock: systemClock, random: systemRandom, log, topology });
  const close = async () => {
    await client.close();
    bus.close();
    await nc.close();
  };
  return { bus, topology, client, close };
}

async function configure(
  client: ActorClient,
  settings: MessageInitShape<typeof TenantSettingsSchema>,
): Promise<void> {
  const { configure: method } = TenantActor.method;
  const options = { requestId: "settings", timeoutMs: SETTINGS_MS_MAX };
  await client.call(method, { tenant: TENANT, key: TENANT }, { name: TENANT, settings }, options);
}
