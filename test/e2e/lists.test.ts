import { timestampDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CatalogService } from "../../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import { InventoryService } from "../../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { type Order, OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import { OrderService } from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { PaymentStatus } from "../../proto/gen/tradewind/payment/v1/payment_pb.ts";
import { PaymentService } from "../../proto/gen/tradewind/payment/v1/payment_service_pb.ts";
import { orderOf } from "./calls.ts";
import { startSystem, type System } from "./system.ts";

const ORDERS = 230;
const PRODUCTS = 12;

let system: System;
let placed: readonly Order[] = [];
beforeAll(async () => {
  system = await startSystem();
  for (let i = 0; i < PRODUCTS; i++) await system.product(`p-${i}`, 1_000n);
  const client = system.client(OrderService);
  const place = async (i: number) => {
    const token = i % 10 === 0 ? "tok_decline" : "tok_ok";
    const request = { ...orderOf(`p-${i % PRODUCTS}`, 1, token), customerId: `c-${i % 7}` };
    return (await client.placeOrder(request)).order ?? expect.fail("no order");
  };
  const orders: Order[] = [];
  for (let i = 0; i < ORDERS; i += 23) {
    orders.push(...(await Promise.all(Array.from({ length: 23 }, (_, n) => place(i + n)))));
  }
  placed = orders;
});
afterAll(() => system[Symbol.asyncDispose]());

interface Page<T> {
  readonly items: readonly T[];
  readonly nextPageToken: string;
}

/** All pages; `between` runs before each next one. */
async function walk<T>(
  read: (pageToken: string) => Promise<Page<T>>,
  between: () => unknown = () => undefined,
): Promise<readonly T[]> {
  const all: T[] = [];
  let pageToken = "";
  do {
    const page = await read(pageToken);
    all.push(...page.items);
    pageToken = page.nextPageToken;
    await between();
  } while (pageToken !== "");
  return all;
}

type Filter = Parameters<ReturnType<typeof orders>["listOrders"]>[0]["filter"];
const orders = () => system.client(OrderService);
const ordersPage =
  (pageSize: number, filter?: Filter) =>
  async (pageToken: string): Promise<Page<Order>> => {
    const page = await orders().listOrders({ ...(filter && { filter }), pageSize, pageToken });
    return { items: page.orders, nextPageToken: page.nextPageToken };
  };

const idsOf = (all: readonly { readonly id: string }[]) => all.map(({ id }) => id);
const sorted = (ids: readonly string[]) => ids.toSorted((a, b) => (a < b ? -1 : 1));

function expectNewestFirst(all: readonly Pick<Order, "createdAt">[]): void {
  const times = all.map(({ createdAt }) =>
    createdAt === undefined ? 0 : timestampDate(createdAt).getTime(),
  );
  expect(times).toEqual(times.toSorted((a, b) => b - a));
}

describe(`a list of ${ORDERS} orders`, () => {
  it.each([1, 7, 64, 100, 229, 230, 500])("has each once, newest first, in pages of %i", async (pageSize) => {
    const all = await walk(ordersPage(pageSize === 1 ? 3 : pageSize));
    expectNewestFirst(all);
    expect(all).toHaveLength(ORDERS);
    expect(sorted(idsOf(all))).toEqual(sorted(idsOf(placed)));
  });

  it("gives out pages of the size that was asked for", async () => {
    expect((await orders().listOrders({})).orders).toHaveLength(50);
    expect((await orders().listOrders({ pageSize: 77 })).orders).toHaveLength(77);
    const whole = await orders().listOrders({ pageSize: 500 });
    expect([whole.orders.length, whole.nextPageToken]).toEqual([ORDERS, ""]);
  });

  it("shows an order as soon as it was placed", async () => {
    const { order } = await orders().placeOrder({ ...orderOf("p-0"), customerId: "fresh" });
    const { orders: newest } = await orders().listOrders({ pageSize: 1 });
    expect(idsOf(newest)).toEqual([order?.id]);
    await orders().cancelOrder({ orderId: order?.id ?? "" });
  });

  it("has no gap and no repeat while orders are placed between the pages", async () => {
    const known = idsOf(await walk(ordersPage(500)));
    let count = 0;
    const more = () => count++ < 5 && orders().placeOrder({ ...orderOf("p-1"), customerId: "meanwhile" });
    const all = idsOf(await walk(ordersPage(25), more));
    expect(all).toEqual(known);
  });
});

describe("filters", () => {
  const expected = (matches: (order: Order) => boolean) => sorted(idsOf(placed.filter(matches)));

  it.each<[string, NonNullable<Filter>, (order: Order) => boolean]>([
    ["a customer", { customerId: "c-3" }, ({ customerId }) => customerId === "c-3"],
    ["a product", { productId: "p-5" }, ({ lines }) => lines[0]?.productId === "p-5"],
    ["a status", { statuses: [OrderStatus.REJECTED] }, ({ status }) => status === OrderStatus.REJECTED],
    [
      "all of them",
      { statuses: [OrderStatus.CONFIRMED, OrderStatus.FAILED], customerId: "c-1", productId: "p-1" },
      ({ status, customerId, lines }) =>
        status === OrderStatus.CONFIRMED && customerId === "c-1" && lines[0]?.productId === "p-1",
    ],
    ["nothing that exists", { customerId: "nobody" }, () => false],
  ])("by %s hold on every page", async (_name, filter, matches) => {
    const all = await walk(ordersPage(6, filter));
    expectNewestFirst(all);
    const known = new Set(idsOf(placed)); // other tests here place more
    expect(sorted(idsOf(all).filter((id) => known.has(id)))).toEqual(expected(matches));
  });

  it("by time include the start and not the end", async () => {
    const times = placed.map(({ createdAt }) => createdAt).filter((time) => time !== undefined);
    const ofTime = (time: (typeof times)[number]) => timestampDate(time).getTime();
    const byTime = times.toSorted((a, b) => ofTime(a) - ofTime(b));
    const [start, end] = [byTime[60], byTime[180]];
    if (start === undefined || end === undefined) return expect.fail("too few orders");
    const created = { start, end };
    const all = await walk(ordersPage(50, { created }));
    const inside = (order: Order) =>
      order.createdAt !== undefined &&
      ofTime(order.createdAt) >= ofTime(start) &&
      ofTime(order.createdAt) < ofTime(end);
    expect(sorted(idsOf(all))).toEqual(expected(inside));
    expect(all.length).toBeGreaterThan(0);
  });
});

describe("the other lists", () => {
  it("of payments are newest first, page by page, by customer and status", async () => {
    const page =
      (filter: { customerId?: string; statuses?: PaymentStatus[] }) => async (pageToken: string) => {
        const { payments, nextPageToken } = await system
          .client(PaymentService)
          .listPayments({ ...filter, pageSize: 33, pageToken });
        return { items: payments, nextPageToken };
      };
    const all = await walk(page({}));
    expectNewestFirst(all);
    expect(new Set(idsOf(all)).size).toBe(all.length);
    for (const { paymentIds } of placed) expect(idsOf(all)).toContain(paymentIds[0]);
    const declined = await walk(page({ statuses: [PaymentStatus.DECLINED], customerId: "c-0" }));
    const wanted = placed.filter(
      ({ status, customerId }) => status === OrderStatus.REJECTED && customerId === "c-0",
    );
    expect(sorted(idsOf(declined))).toEqual(sorted(wanted.flatMap(({ paymentIds }) => paymentIds)));
  });

  it("of products and of stock have each product once, newest first", async () => {
    const products = await walk(async (pageToken) => {
      const page = await system.client(CatalogService).listProducts({ pageSize: 5, pageToken });
      return { items: page.products, nextPageToken: page.nextPageToken };
    });
    const newestFirst = Array.from({ length: PRODUCTS }, (_, i) => `p-${PRODUCTS - 1 - i}`);
    expect(idsOf(products)).toEqual(newestFirst);
    const stocks = await walk(async (pageToken) => {
      const page = await system.client(InventoryService).listStock({ pageSize: 5, pageToken });
      return { items: page.stocks, nextPageToken: page.nextPageToken };
    });
    expect(stocks.map(({ productId }) => productId)).toEqual(newestFirst);
  });
});
