import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import type { DescService } from "@bufbuild/protobuf";
import { startWorkerRole } from "../../actors/main.ts";
import { startGatewayRole } from "../../gateway/main.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import { createHealth, type Health } from "../../platform/health.ts";
import { silentLogger } from "../../platform/log.ts";
import type { NatsServer } from "../../platform/nats-server/index.ts";
import { testServer } from "../../platform/nats-server/testing.ts";
import { createShutdown } from "../../platform/shutdown.ts";
import { CatalogService } from "../../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";

/** The whole system in this process over a nats-server of its own. */
export interface TestSystem extends AsyncDisposable {
  readonly url: string;
  readonly nats: NatsServer;
  readonly health: Health;
  /** A second gateway over the same NATS. @returns its URL */
  readonly addGateway: () => Promise<string>;
  readonly client: <S extends DescService>(service: S, url?: string) => Client<S>;
  /** Creates a product with stock; EUR, no tax unless given. */
  readonly product: (id: string, stock: bigint, price?: bigint, taxRateBp?: number) => Promise<void>;
}

const STOP_MS = 15_000;
const OWNER_POLL_MS = 10;

export async function startSystem(): Promise<TestSystem> {
  const nats = await testServer();
  const health = createHealth();
  const shutdown = createShutdown({ log: silentLogger, deadlineMs: STOP_MS });
  const parts = { log: silentLogger, health, shutdown };
  const env = { NATS_URL: nats.url, PSP_URL: "memory:psp", PORT: "0", LOGS: "4" };
  const worker = await startWorkerRole(parts, env, ["core", "analytics"]);
  const { url } = await startGatewayRole(parts, env);
  while (!worker.ownsAll()) await sleep(systemClock, OWNER_POLL_MS);
  const client = <S extends DescService>(service: S, baseUrl = url): Client<S> =>
    createClient(service, createConnectTransport({ baseUrl, httpVersion: "2" }));
  return {
    url,
    nats,
    health,
    addGateway: async () => (await startGatewayRole(parts, env)).url,
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
    [Symbol.asyncDispose]: async () => {
      await shutdown.stop("test is over");
      await nats[Symbol.asyncDispose]();
    },
  };
}
