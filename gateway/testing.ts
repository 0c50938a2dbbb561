import type { ServiceImpl } from "@connectrpc/connect";
import { sleep, systemClock } from "../platform/clock.ts";
import { createHealth, type Health } from "../platform/health.ts";
import { silentLogger } from "../platform/log.ts";
import { createMetrics } from "../platform/metrics.ts";
import { systemRandom } from "../platform/random.ts";
import { OrderService, Wait } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { OrderStatus } from "../proto/gen/tradewind/order/v1/order_pb.ts";
import { loopbackAuthenticator, scopeOf } from "./call-scope.ts";
import { edgeError, notFound } from "./connect-errors.ts";
import { originRule } from "./http.ts";
import { type GatewayServer, type GatewayServerOptions, startGatewayServer } from "./server.ts";

/** What the fixture has seen, for tests to look at. */
export interface Fixture {
  readonly server: GatewayServer;
  readonly health: Health;
  /** Renders the metrics. */
  readonly metrics: () => Promise<string>;
  readonly seen: { streamsAborted: number; placed: number; readonly traces: string[] };
}

/**
 * A gateway whose order service is a small one in memory: `GetOrder` knows `o-1`, panics at `boom`, refuses at
 * `short`; `PlaceOrder` takes `timeout` to answer; `WatchOrder` counts to three, or never ends for `forever`.
 */
export async function startFixture(options: Partial<GatewayServerOptions> = {}): Promise<Fixture> {
  const health = createHealth();
  health.ok("fixture");
  const metrics = createMetrics();
  const seen = { streamsAborted: 0, placed: 0, traces: [] };
  const server = await startGatewayServer({
    host: "127.0.0.1",
    port: 0,
    register: (table) => table.add(OrderService, fixtureService(seen)),
    authenticator: loopbackAuthenticator({ tenant: "demo", principal: "tester" }),
    admission: [],
    originRule: originRule("local"),
    health,
    log: silentLogger,
    metrics,
    clock: systemClock,
    random: systemRandom,
    ...options,
  });
  return { server, health, metrics: () => metrics.render(), seen };
}

function fixtureService(seen: Fixture["seen"]): ServiceImpl<typeof OrderService> {
  return {
    placeOrder: async ({ customerId, timeout, wait }, context) => {
      await sleep(
        systemClock,
        Number(timeout?.seconds ?? 0n) * 1_000 + (timeout?.nanos ?? 0) / 1e6,
        context.signal,
      );
      seen.placed++;
      const { tenant, trace } = scopeOf(context);
      seen.traces.push(trace);
      return { order: { id: "ord_1", tenantId: tenant, customerId }, waitReached: wait === Wait.ACCEPTED };
    },
    getOrder: ({ orderId }) => {
      if (orderId === "boom") throw new Error("the password is secret");
      if (orderId === "short") {
        throw edgeError("OUT_OF_STOCK", "1 left", { metadata: { product_id: "tea", available: "1" } });
      }
      if (orderId === "busy") throw edgeError("OVERLOADED", "full", { retryAfterMs: 2_500 });
      if (orderId !== "o-1") throw notFound("order", orderId);
      return {
        order: {
          id: "o-1",
          status: OrderStatus.CONFIRMED,
          total: { currencyCode: "EUR", minorUnits: 1299n },
        },
      };
    },
    listOrders: () => ({ orders: [] }),
    cancelOrder: () => ({}),
    getOrderHistory: () => ({}),
    async *watchOrder({ orderId, cursor }, { signal }) {
      if (orderId === "gone") throw notFound("order", orderId);
      const from = cursor === "" ? 0 : Number(cursor);
      for (let i = from + 1; i <= 3; i++) yield update(orderId, i);
      if (orderId !== "forever") return;
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      seen.streamsAborted++;
      throw signal.reason;
    },
    async *watchOrders() {
      yield { cursor: "1", event: { case: "snapshot", value: { orders: [] } } };
    },
  };
}

function update(id: string, revision: number) {
  const order = { id, revision: BigInt(revision) };
  const cursor = String(revision);
  return revision === 1
    ? ({ cursor, event: { case: "snapshot", value: order } } as const)
    : ({ cursor, event: { case: "update", value: { order } } } as const);
}
