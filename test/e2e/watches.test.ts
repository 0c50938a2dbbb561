import { type Client, Code, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import {
  createConnectTransport as createWebTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-web";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AnalyticsService } from "../../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { InventoryService } from "../../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { type Order, OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import {
  OrderService,
  Wait,
  type WatchOrderResponse,
  type WatchOrdersResponse,
} from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { failureOf, orderOf, pause, readUntil, SOON, type ServerEvent, serverEvents } from "./calls.ts";
import { startSystem, type System } from "./system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
  await system.product("tea", 100_000n, 500n);
});
afterAll(() => system[Symbol.asyncDispose]());

const orders = () => system.client(OrderService);

async function place(token: string, customerId = "ada", wait: Wait = Wait.SETTLED): Promise<Order> {
  const { order } = await orders().placeOrder({ ...orderOf("tea", 1, token), customerId, wait });
  return order ?? expect.fail("no order");
}

const TRANSPORTS: Readonly<Record<string, (baseUrl: string) => Transport>> = {
  Connect: (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" }),
  gRPC: (baseUrl) => createGrpcTransport({ baseUrl }),
  "Connect in a browser": (baseUrl) => createWebTransport({ baseUrl }),
  "gRPC-web in a browser": (baseUrl) => createGrpcWebTransport({ baseUrl }),
};

describe.each(Object.entries(TRANSPORTS))("WatchOrder over %s", (_name, transport) => {
  const client = (): Client<typeof OrderService> => createClient(OrderService, transport(system.url));

  it("begins with the order as it is, tells each change, and ends when it is final", async () => {
    const { id: orderId } = await place("tok_slow_300", "ada", Wait.HELD);
    const seen: WatchOrderResponse[] = [];
    let isCancelled = false;
    for await (const message of client().watchOrder({ orderId })) {
      seen.push(message);
      const { order } = message.event.case === "update" ? message.event.value : {};
      if (isCancelled || order?.status !== OrderStatus.CONFIRMED) continue;
      isCancelled = true;
      await orders().cancelOrder({ orderId });
    }
    expect(seen[0]?.event).toMatchObject({
      case: "snapshot",
      value: { id: orderId, status: OrderStatus.AWAITING_PAYMENT },
    });
    const updates = seen.flatMap(({ event }) => (event.case === "update" ? [event.value] : []));
    expect(updates.length).toBe(seen.length - 1);
    let before = seen[0]?.event.value as Order;
    for (const { order, previousStatus } of updates) {
      expect(order?.revision).toBeGreaterThan(before.revision);
      expect(previousStatus).toBe(before.status);
      before = order ?? expect.fail("an update without an order");
    }
    expect(before.status).toBe(OrderStatus.CANCELLED);
    const statuses = updates.map(({ order }) => order?.status);
    expect(statuses).toContain(OrderStatus.CONFIRMED);
    const cursor = seen.at(-2)?.cursor ?? "";
    const rest = await readUntil(
      (signal) => client().watchOrder({ orderId, cursor }, { signal }),
      () => false,
    );
    expect(rest.map(({ event }) => event)).toEqual([
      expect.objectContaining({ case: "update", value: expect.objectContaining({ order: before }) }),
    ]);
  });
});

describe("WatchOrder", () => {
  it("of an order that has ended gives it once and ends", async () => {
    const { id: orderId } = await place("tok_decline");
    const all = await readUntil(
      (signal) => orders().watchOrder({ orderId }, { signal }),
      () => false,
    );
    expect(all).toMatchObject([{ event: { case: "snapshot", value: { status: OrderStatus.REJECTED } } }]);
  });

  it("until settled ends with the confirmation", async () => {
    const { id: orderId } = await place("tok_slow_50", "ada", Wait.ACCEPTED);
    const all = await readUntil(
      (signal) => orders().watchOrder({ orderId, untilSettled: true }, { signal }),
      () => false,
    );
    const { event } = all.at(-1) ?? {};
    const order = event?.case === "update" ? event.value.order : event?.value;
    expect(order).toMatchObject({ status: OrderStatus.CONFIRMED });
  });

  it("comes as server-sent events for curl -N and EventSource, and resumes behind Last-Event-ID", async () => {
    const { id } = await place("tok_slow_100", "ada", Wait.HELD);
    const url = `${system.url}/v1/orders/${id}:watch?until_settled=true`;
    const all = await readUntil<ServerEvent>(
      (signal) => serverEvents(url, signal),
      () => false,
    );
    expect(all[0]).toMatchObject({ event: "snapshot", data: { snapshot: { id } } });
    expect(all.at(-1)?.event).toBe("end");
    const last = all.at(-2);
    expect(last).toMatchObject({
      event: "update",
      data: { update: { order: { id, status: "ORDER_STATUS_CONFIRMED" } } },
    });
    expect(last?.id).toBe(last?.data["cursor"]);
    // 204 is what keeps an EventSource from coming back for more.
    const again = await fetch(url, { headers: { "last-event-id": last?.id ?? "" } });
    expect(again.status).toBe(204);
    const missing = await fetch(`${system.url}/v1/orders/ord_none:watch`);
    expect([missing.status, await missing.json()]).toMatchObject([404, { code: "not_found" }]);
    const bad = await fetch(`${system.url}/v1/orders/${id}:watch?until_settled=perhaps`);
    expect([bad.status, await bad.json()]).toMatchObject([400, { code: "invalid_argument" }]);
  });
});

/** What a watcher of orders knows, fed by one stream after another. A snapshot may be ahead of its cursor. */
class Seen {
  readonly told = new Set<string>();
  readonly statuses = new Map<string, OrderStatus>();
  repeats = 0;
  snapshots = 0;

  take({ event }: WatchOrdersResponse): void {
    if (event.case === "snapshot") {
      this.snapshots++;
      for (const order of event.value.orders) this.#keep(order);
    }
    if (event.case === "update" && event.value.order !== undefined) {
      const { id, revision } = event.value.order;
      if (this.told.has(`${id}@${revision}`)) this.repeats++;
      this.told.add(`${id}@${revision}`);
      this.#keep(event.value.order);
    }
  }

  #keep({ id, status }: Order): void {
    this.statuses.set(id, status);
  }
}

describe("WatchOrders", () => {
  it("resumes behind its cursor without gap or repeat, however often it is cut off", async () => {
    const filter = { customerId: "busy" };
    const seen = new Seen();
    let cursor = "";
    const placing = Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        place(["tok_ok", "tok_decline", "tok_slow_40"][i % 3] ?? "", "busy"),
      ),
    );
    const ends: readonly OrderStatus[] = [OrderStatus.CONFIRMED, OrderStatus.REJECTED];
    const isDone = () => {
      const statuses = [...seen.statuses.values()];
      return statuses.length === 60 && statuses.every((status) => ends.includes(status));
    };
    for (let cut = 0; !isDone(); cut++) {
      let left = 1 + ((cut * 7) % 13);
      await readUntil(
        (signal) => orders().watchOrders({ filter, cursor, snapshotSize: 500 }, { signal }),
        (all) => {
          const newest = all.at(-1);
          if (newest === undefined) return false;
          seen.take(newest);
          ({ cursor } = newest);
          left--;
          return left === 0 || isDone();
        },
      );
    }
    for (const { id, status } of await placing) expect(seen.statuses.get(id)).toBe(status);
    expect(seen.repeats).toBe(0);
    expect(seen.snapshots).toBeLessThanOrEqual(2); // the first one, and one before there was a cursor
  }, 20_000);

  it("shows only what matches, and once more what stops to match", async () => {
    const filter = { customerId: "choosy", statuses: [OrderStatus.AWAITING_PAYMENT] };
    const waiting = await place("", "choosy", Wait.HELD);
    const all = await readUntil(
      (signal) => orders().watchOrders({ filter }, { signal }),
      async (messages) => {
        if (messages.length === 1) {
          await place("tok_ok", "somebody");
          await orders().cancelOrder({ orderId: waiting.id });
        }
        return messages.length > 1;
      },
    );
    expect(all[0]?.event).toMatchObject({ case: "snapshot", value: { orders: [{ id: waiting.id }] } });
    expect(all[1]?.event).toMatchObject({
      case: "update",
      value: { order: { id: waiting.id }, previousStatus: OrderStatus.AWAITING_PAYMENT },
    });
  });

  it("tells a reader that comes back what has stopped to match meanwhile", async () => {
    const filter = { customerId: "away", statuses: [OrderStatus.AWAITING_PAYMENT] };
    const [leaving, staying] = await Promise.all([1, 2].map(() => place("", "away", Wait.HELD)));
    const watch = (cursor: string, isEnough: (all: readonly WatchOrdersResponse[]) => boolean) =>
      readUntil((signal) => orders().watchOrders({ filter, cursor }, { signal }), isEnough);
    await watch("", () => true);
    await expect // a cursor that everything so far is behind
      .poll(async () => (await watch("", () => true))[0]?.cursor, SOON)
      .not.toBe("");
    await pause(200);
    const [before] = await watch("", () => true);
    await orders().cancelOrder({ orderId: leaving?.id ?? "" });
    const isGone = ({ event }: WatchOrdersResponse) =>
      event.case === "update" &&
      event.value.order?.id === leaving?.id &&
      event.value.order?.status === OrderStatus.CANCELLED;
    const told = await watch(before?.cursor ?? "", (all) => all.some(isGone));
    expect(told.map(({ event }) => event.case)).not.toContain("snapshot");
    const ids = told.flatMap(({ event }) => (event.case === "update" ? [event.value.order?.id] : []));
    expect(ids).not.toContain(staying?.id);
  }, 10_000);

  it("comes as server-sent events", async () => {
    const filter = "filter.customer_id=events";
    const all = await readUntil<ServerEvent>(
      (signal) => serverEvents(`${system.url}/v1/orders:watch?${filter}`, signal),
      async (events) => {
        if (events.length === 1) await place("tok_ok", "events");
        return JSON.stringify(events.at(-1)).includes("ORDER_STATUS_CONFIRMED");
      },
    );
    expect(all.map(({ event }) => event).slice(0, 2)).toEqual(["snapshot", "update"]);
  });

  it("refuses a cursor that is none", async () => {
    const failure = await failureOf(orders().watchOrders({ cursor: "yesterday" }));
    expect(failure).toMatchObject({ code: Code.InvalidArgument, reason: "CURSOR_INVALID" });
  });
});

describe("WatchStock", () => {
  it("gives the stock, each newer state, and goes on behind its cursor", async () => {
    await system.product("watched", 20n);
    const watch = (cursor: string, isEnough: (levels: readonly bigint[]) => unknown) => {
      const levels: bigint[] = [];
      return readUntil(
        (signal) =>
          system.client(InventoryService).watchStock({ productIds: ["watched"], cursor }, { signal }),
        ((all: readonly { event: { case?: string | undefined; value?: unknown } }[]) => {
          const { event } = all.at(-1) ?? {};
          const stock =
            event?.case === "snapshot"
              ? (event.value as { stocks: { onHand: bigint }[] }).stocks[0]
              : event?.value;
          levels.push((stock as { onHand: bigint }).onHand);
          return isEnough(levels);
        }) as never,
      );
    };
    const buy = () => orders().placeOrder(orderOf("watched", 2));
    const first = await watch("", async (levels) => {
      if (levels.length === 1) await buy();
      return levels.at(-1) === 18n;
    });
    expect(first[0]?.event.case).toBe("snapshot");
    await buy();
    const cursor = first.at(-1)?.cursor ?? "";
    const second = await watch(cursor, (levels) => levels.at(-1) === 16n);
    expect(second.every(({ event }) => event.case === "update")).toBe(true);
    const revisions = [...first, ...second].flatMap(({ event }) =>
      event.case === "update" ? [event.value.revision] : [],
    );
    expect(new Set(revisions).size).toBe(revisions.length);
  });

  it("of every product tells new ones too, also as server-sent events", async () => {
    const all = await readUntil<ServerEvent>(
      (signal) => serverEvents(`${system.url}/v1/stock:watch`, signal),
      async (events) => {
        if (events.length === 1) await system.product("brand-new", 3n);
        return JSON.stringify(events.at(-1)?.data["update"] ?? "").includes("brand-new");
      },
    );
    expect(all[0]?.event).toBe("snapshot");
    expect(all.at(-1)?.data).toMatchObject({ update: { productId: "brand-new", onHand: "3" } });
  });
});

type Figure = { readonly event: { readonly case?: string | undefined; readonly value?: unknown } };
type Opened = (client: Client<typeof AnalyticsService>, signal: AbortSignal) => AsyncIterable<Figure>;

/** What is watched, how it is called, where its events are, and over what it is watched here. */
const FIGURES: readonly (readonly [string, string, Opened, string])[] = [
  ["total sales", "total-sales:watch", (c, signal) => c.watchTotalSales({}, { signal }), "gRPC"],
  [
    "sales of a product",
    "products/tea:watch",
    (c, signal) => c.watchSalesByProduct({ productId: "tea" }, { signal }),
    "Connect",
  ],
  [
    "the best customers",
    "top-customers:watch?limit=100",
    (c, signal) => c.watchTopCustomers({ limit: 100 }, { signal }),
    "gRPC-web in a browser",
  ],
  [
    "the best products",
    "top-products:watch?measure=MEASURE_UNITS",
    (c, signal) => c.watchTopProducts({}, { signal }),
    "Connect in a browser",
  ],
  [
    "the series",
    "sales-series:watch?buckets=3",
    (c, signal) => c.watchSalesSeries({ buckets: 3 }, { signal }),
    "gRPC",
  ],
];

describe.each(FIGURES)("a watch of %s", (name, path, open, protocol) => {
  const customer = name.replaceAll(" ", "-");

  it(`tells each change over ${protocol}`, async () => {
    const transport = TRANSPORTS[protocol] ?? expect.fail("no such transport");
    const client = createClient(AnalyticsService, transport(system.url));
    const all = await readUntil<Figure>(
      (signal) => open(client, signal),
      async (messages) => {
        if (messages.length === 1) await place("tok_ok", customer);
        return messages.at(-1)?.event.case === "update";
      },
    );
    expect(all[0]?.event.case).toBe("snapshot");
    expect(all.at(-1)?.event.value).not.toEqual(all[0]?.event.value);
  });

  it("comes as server-sent events", async () => {
    const all = await readUntil<ServerEvent>(
      (signal) => serverEvents(`${system.url}/v1/analytics/${path}`, signal),
      async (events) => {
        if (events.length === 1) await place("tok_ok", `${customer}-sse`);
        return events.at(-1)?.event === "update";
      },
    );
    expect(all[0]?.event).toBe("snapshot");
  });
});
