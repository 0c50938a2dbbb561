import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../proto/gen/grpc/health/v1/health_pb.ts";
import { AnalyticsService } from "../../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { InventoryService } from "../../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import {
  OrderService,
  Wait,
  type WatchOrdersResponse,
} from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { startSystem, type TestSystem } from "./system.ts";

let system: TestSystem;
beforeAll(async () => {
  system = await startSystem();
  await system.product("tea", 10_000n, 500n);
});
afterAll(() => system?.[Symbol.asyncDispose]());

function orderOf(customerId: string, wait: Wait = Wait.SETTLED) {
  return { customerId, lines: [{ productId: "tea", quantity: 1 }], payment: { methodToken: "tok_ok" }, wait };
}

/** Reads a stream until `enough` says so, then ends it. */
async function readUntil<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  enough: (all: readonly T[]) => boolean | Promise<boolean>,
): Promise<readonly T[]> {
  const abort = new AbortController();
  const all: T[] = [];
  try {
    for await (const message of open(abort.signal)) {
      all.push(message);
      if (await enough(all)) break;
    }
  } finally {
    abort.abort();
  }
  return all;
}

it("streams one order from its acceptance to its end, and resumes without repeats", async () => {
  const client = system.client(OrderService);
  const placed = await client.placeOrder({
    ...orderOf("w-1", Wait.ACCEPTED),
    payment: { methodToken: "tok_slow_300" },
  });
  const orderId = placed.order?.id ?? "";
  const messages = await readUntil(
    (signal) => client.watchOrder({ orderId, untilSettled: true }, { signal }),
    () => false,
  );
  expect(messages[0]?.event.case).toBe("snapshot");
  const last = messages.at(-1);
  expect(last?.event).toMatchObject({ case: "update", value: { order: { status: OrderStatus.CONFIRMED } } });
  const cursors = messages.map(({ cursor }) => Number(cursor));
  expect(cursors).toEqual(cursors.toSorted((a, b) => a - b));
  const rest = await readUntil(
    (signal) => client.watchOrder({ orderId, untilSettled: true, cursor: last?.cursor ?? "" }, { signal }),
    () => false,
  );
  expect(rest).toEqual([]);
});

it("shows a watcher of all orders each new one, and what stops to match once more", async () => {
  const client = system.client(OrderService);
  const filter = { customerId: "w-2", statuses: [OrderStatus.AWAITING_PAYMENT] };
  let orderId = "";
  const messages = await readUntil<WatchOrdersResponse>(
    (signal) => client.watchOrders({ filter }, { signal }),
    async (all) => {
      const statuses = all.map(({ event }) =>
        event.case === "update" ? event.value.order?.status : undefined,
      );
      if (all.length === 1) {
        const { order } = await client.placeOrder({
          ...orderOf("w-2", Wait.HELD),
          payment: undefined as never,
        });
        orderId = order?.id ?? "";
        await client.placeOrder(orderOf("somebody-else"));
      }
      if (statuses.at(-1) === OrderStatus.AWAITING_PAYMENT) await client.cancelOrder({ orderId });
      return all.length > 1 && statuses.at(-1) !== OrderStatus.AWAITING_PAYMENT;
    },
  );
  expect(messages[0]?.event).toMatchObject({ case: "snapshot", value: { orders: [] } });
  expect(messages.at(-1)?.event).toMatchObject({
    case: "update",
    value: { previousStatus: OrderStatus.AWAITING_PAYMENT, order: { id: orderId } },
  });
});

it("resumes behind a cursor without a snapshot, at any gateway, and begins anew with a foreign one", async () => {
  const client = system.client(OrderService);
  const first = await readUntil(
    (signal) => client.watchOrders({ filter: { customerId: "w-3" } }, { signal }),
    async (all) => {
      if (all.length === 1) await client.placeOrder(orderOf("w-3"));
      const { event } = all.at(-1) ?? {};
      return event?.case === "update" && event.value.order?.status === OrderStatus.CONFIRMED;
    },
  );
  const missed = await client.placeOrder(orderOf("w-3"));
  const cursor = first.at(-1)?.cursor ?? "";
  const resumed = await readUntil(
    (signal) => client.watchOrders({ filter: { customerId: "w-3" }, cursor }, { signal }),
    (all) => {
      const { event } = all.at(-1) ?? {};
      return event?.case === "update" && event.value.order?.id === missed.order?.id;
    },
  );
  expect(resumed.map(({ event }) => event.case)).not.toContain("snapshot");
  const restarted = system.client(OrderService, await system.addGateway());
  const again = await readUntil(
    (signal) => restarted.watchOrders({ filter: { customerId: "w-3" }, cursor }, { signal }),
    () => true,
  );
  expect(again[0]?.event).toMatchObject({ case: "update", value: { order: { id: missed.order?.id } } });
  const foreign = await readUntil(
    (signal) => client.watchOrders({ filter: { customerId: "w-3" }, cursor: "999999999" }, { signal }),
    () => true,
  );
  expect(foreign[0]?.event.case).toBe("snapshot");
  const bad = client.watchOrders({ cursor: "nonsense" })[Symbol.asyncIterator]().next();
  expect(ConnectError.from(await bad.catch((thrown: unknown) => thrown)).code).toBe(Code.InvalidArgument);
});

it("streams stock and figures as they change, also from another gateway", async () => {
  const other = await system.addGateway();
  await system.product("p-live", 50n, 700n);
  const placed = system.client(OrderService, other);
  const place = () => placed.placeOrder({ ...orderOf("w-4"), lines: [{ productId: "p-live", quantity: 3 }] });
  const stock = await readUntil(
    (signal) => system.client(InventoryService).watchStock({ productIds: ["p-live"] }, { signal }),
    async (all) => {
      if (all.length === 1) await place();
      const { event } = all.at(-1) ?? {};
      return event?.case === "update" && event.value.onHand === 47n && event.value.reserved === 0n;
    },
  );
  expect(stock[0]?.event).toMatchObject({ case: "snapshot", value: { stocks: [{ onHand: 50n }] } });
  const sales = await readUntil(
    (signal) => system.client(AnalyticsService).watchSalesByProduct({ productId: "p-live" }, { signal }),
    async (all) => {
      if (all.length === 1) await place();
      const { event } = all.at(-1) ?? {};
      return event?.case === "update" && event.value.units === 6n;
    },
  );
  expect(sales[0]?.event.case).toBe("snapshot");
  const top = await readUntil(
    (signal) => system.client(AnalyticsService).watchTopCustomers({ limit: 3 }, { signal }),
    async (all) => {
      if (all.length === 1) await place();
      return all.length > 1;
    },
  );
  expect(top.at(-1)?.event).toMatchObject({
    case: "update",
    value: { customers: [{ rank: 1 }, { rank: 2 }, { rank: 3 }] },
  });
});

it("keeps its streams over a restart of nats-server", async () => {
  const client = system.client(OrderService);
  let orderId = "";
  const seen = await readUntil(
    (signal) => client.watchOrders({ filter: { customerId: "w-5" } }, { signal }),
    async (all) => {
      if (all.length === 1) {
        await system.nats.restart();
        const place = async () => (await client.placeOrder({ ...orderOf("w-5"), requestId: "over" })).order;
        await expect
          .poll(() => place().catch(() => undefined), { timeout: 20_000, interval: 300 })
          .toBeTruthy();
        orderId = (await place())?.id ?? "";
      }
      const { event } = all.at(-1) ?? {};
      return event?.case === "update" && event.value.order?.status === OrderStatus.CONFIRMED;
    },
  );
  expect(seen.at(-1)?.event).toMatchObject({ value: { order: { id: orderId } } });
});

it("tells health watchers when NATS is gone, and when it is back", async () => {
  const health = system.client(Health);
  // The server was killed before: a first state that is not serving would be mistaken for the change.
  await vi.waitFor(() => expect(system.health.isReady()).toBe(true), { timeout: 20_000 });
  const statuses: number[] = [];
  await readUntil(
    (signal) => health.watch({ service: OrderService.typeName }, { signal }),
    async (all) => {
      statuses.push(all.at(-1)?.status ?? 0);
      if (statuses.length === 1) await system.nats.kill();
      if (statuses.length === 2) await system.nats.restart();
      return statuses.length === 3;
    },
  );
  expect(statuses).toEqual([Status.SERVING, Status.NOT_SERVING, Status.SERVING]);
});
