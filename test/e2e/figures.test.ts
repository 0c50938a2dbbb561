import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../platform/clock.ts";
import { AnalyticsService, Measure } from "../../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { CatalogService } from "../../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import { OpsService, ReconcileVerdict } from "../../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { type Order, OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import { OrderService } from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import type { Payment } from "../../proto/gen/tradewind/payment/v1/payment_pb.ts";
import { PaymentService } from "../../proto/gen/tradewind/payment/v1/payment_service_pb.ts";
import { EUR, orderOf, SOON } from "./calls.ts";
import { startSystem, type System } from "./system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const figures = () => system.client(AnalyticsService);
const orders = () => system.client(OrderService);

/** Everything that the API tells, as plain numbers. */
async function shown() {
  const [{ totalSales }, list, byRevenue, byUnits, { topCustomers }, { series }] = await Promise.all([
    figures().getTotalSales({}),
    figures().listSalesByProduct({ pageSize: 500 }),
    figures().getTopProducts({ limit: 100, measure: Measure.REVENUE }),
    figures().getTopProducts({ limit: 100, measure: Measure.UNITS }),
    figures().getTopCustomers({ limit: 100 }),
    figures().getSalesSeries({}),
  ]);
  const points = series?.points ?? [];
  const sum = (of: (point: (typeof points)[number]) => bigint | undefined) =>
    points.reduce((total, point) => total + (of(point) ?? 0n), 0n);
  return {
    gross: totalSales?.gross?.minorUnits,
    refunds: totalSales?.refunds?.minorUnits,
    net: totalSales?.net?.minorUnits,
    orders: totalSales?.orders,
    units: totalSales?.units,
    average: totalSales?.averageOrder?.minorUnits,
    products: list.products.map((each) => [
      each.productId,
      each.units,
      each.revenue?.minorUnits,
      each.orders,
    ]),
    byRevenue: byRevenue.topProducts?.products.map(({ rank, sales }) => [rank, sales?.productId]),
    byUnits: byUnits.topProducts?.products.map(({ rank, sales }) => [rank, sales?.productId]),
    customers: topCustomers?.customers.map((each) => [
      each.rank,
      each.customerId,
      each.spent?.minorUnits,
      each.orders,
    ]),
    series: {
      gross: sum(({ gross }) => gross?.minorUnits),
      refunds: sum(({ refunds }) => refunds?.minorUnits),
      orders: sum((point) => point.orders),
      units: sum((point) => point.units),
    },
  };
}

const byScore = (a: readonly [string, bigint], b: readonly [string, bigint]) =>
  a[1] === b[1] ? (a[0] < b[0] ? -1 : 1) : a[1] > b[1] ? -1 : 1;

/** The same, computed from the orders and payments of the API; refunds here are always of a whole order. */
async function recomputed(): Promise<Awaited<ReturnType<typeof shown>>> {
  const all: Order[] = (await orders().listOrders({ pageSize: 500 })).orders;
  const listed = await system.client(PaymentService).listPayments({ pageSize: 500 });
  const paid = new Map(listed.payments.map((payment) => [payment.orderId, payment]));
  const captured = all.filter(({ id }) => (paid.get(id)?.capturedAmount?.minorUnits ?? 0n) > 0n);
  const products = new Map<string, { units: bigint; revenue: bigint; orders: bigint }>();
  const customers = new Map<string, { spent: bigint; orders: bigint }>();
  let [gross, refunds, units] = [0n, 0n, 0n];
  for (const order of captured) {
    const { capturedAmount, refundedAmount } = paid.get(order.id) as Payment;
    const isBack = order.status === OrderStatus.CANCELLED;
    gross += capturedAmount?.minorUnits ?? 0n;
    refunds += refundedAmount?.minorUnits ?? 0n;
    const customer = customers.get(order.customerId) ?? { spent: 0n, orders: 0n };
    customer.spent += (capturedAmount?.minorUnits ?? 0n) - (refundedAmount?.minorUnits ?? 0n);
    customer.orders += 1n;
    customers.set(order.customerId, customer);
    for (const { productId, quantity, lineTotal } of order.lines) {
      const product = products.get(productId) ?? { units: 0n, revenue: 0n, orders: 0n };
      product.orders += 1n;
      if (!isBack) {
        units += BigInt(quantity);
        product.units += BigInt(quantity);
        product.revenue += lineTotal?.minorUnits ?? 0n;
      }
      products.set(productId, product);
    }
  }
  const count = BigInt(captured.length);
  const ranked = (scores: readonly (readonly [string, bigint])[]) =>
    scores.toSorted(byScore).map(([id]) => id);
  const revenues = ranked([...products].map(([id, { revenue }]) => [id, revenue]));
  const sold = ranked([...products].map(([id, product]) => [id, product.units]));
  const spenders = ranked([...customers].map(([id, { spent }]) => [id, spent]));
  return {
    gross,
    refunds,
    net: gross - refunds,
    orders: count,
    units,
    average: count === 0n ? 0n : (gross * 2n + count) / (count * 2n),
    products: revenues.map((id) => {
      const product = products.get(id);
      return [id, product?.units, product?.revenue, product?.orders];
    }),
    byRevenue: revenues.map((id, index) => [index + 1, id]),
    byUnits: sold.map((id, index) => [index + 1, id]),
    customers: spenders.map((id, i) => [i + 1, id, customers.get(id)?.spent, customers.get(id)?.orders]),
    series: { gross, refunds, orders: count, units },
  };
}

async function expectExact(): Promise<void> {
  const wanted = await recomputed();
  await expect.poll(shown, SOON).toEqual(wanted);
}

describe("figures", () => {
  it("T20 are zero before anything was sold", async () => {
    const empty = await recomputed();
    expect(empty.orders).toBe(0n);
    expect(await shown()).toEqual(empty);
    const { sales } = await figures().getSalesByProduct({ productId: "unknown" });
    expect(sales).toMatchObject({ units: 0n, orders: 0n, revenue: EUR(0n) });
    const { totalSales } = await figures().getTotalSales({ currencyCode: "JPY" });
    expect(totalSales).toMatchObject({ gross: { currencyCode: "JPY", minorUnits: 0n }, orders: 0n });
    const { verdict } = await system.client(OpsService).reconcile({});
    expect(verdict).toBe(ReconcileVerdict.CLEAN);
  });

  it("T20 are equal to a recomputation from the orders, with declines, cancellations and refunds", async () => {
    for (let i = 0; i < 8; i++) await system.product(`f-${i}`, 100_000n, BigInt(1 + i * 317), i * 500);
    const place = async (i: number) => {
      const token = ["tok_ok", "tok_ok", "tok_decline", "tok_ok", "tok_capture_decline"][i % 5] ?? "";
      const lines = [
        { productId: `f-${i % 8}`, quantity: 1 + (i % 4) },
        { productId: `f-${(i * 3 + 1) % 8}`, quantity: 1 + (i % 3) },
      ];
      const request = { ...orderOf("f-0", 1, token), lines, customerId: `buyer-${i % 9}` };
      return (await orders().placeOrder(request)).order ?? expect.fail("no order");
    };
    const placed = await Promise.all(Array.from({ length: 80 }, (_, i) => place(i)));
    const confirmed = placed.filter(({ status }) => status === OrderStatus.CONFIRMED);
    expect(confirmed.length).toBeGreaterThan(40);
    await Promise.all(confirmed.slice(0, 9).map(({ id: orderId }) => orders().cancelOrder({ orderId })));
    const isOver = async ({ id: orderId }: Order) =>
      (await orders().getOrder({ orderId })).order?.status === OrderStatus.CANCELLED;
    const allOver = async () => (await Promise.all(confirmed.slice(0, 9).map(isOver))).every(Boolean);
    await expect.poll(allOver, SOON).toBe(true);
    await expectExact();
  });

  it("T20 count beyond 2^31 exactly", async () => {
    await system.product("big", 1_000_000n, 99_999_999_999n);
    const { order } = await orders().placeOrder({ ...orderOf("big", 7), customerId: "whale" });
    expect(order?.total).toMatchObject(EUR(699_999_999_993n));
    await orders().placeOrder({ ...orderOf("big", 9_000), customerId: "whale" });
    await expectExact();
    const { topCustomers } = await figures().getTopCustomers({ limit: 1 });
    expect(topCustomers?.customers).toMatchObject([
      { rank: 1, customerId: "whale", spent: EUR(99_999_999_999n * 9_007n), orders: 2n },
    ]);
  });

  it("T20 stay exact when the worker that counts is replaced in the middle", async () => {
    const wave = Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        orders().placeOrder({ ...orderOf(`f-${i % 8}`), customerId: "wave" }),
      ),
    );
    await system.stopWorkers();
    await system.startWorkers();
    for (const { order } of await wave) expect(order?.status).toBe(OrderStatus.CONFIRMED);
    await expectExact();
  });

  it("T20 count an event once that is stored a second time", async () => {
    const { bus, topology } = system.back;
    const filter = topology.event("demo", "order", "*", "order_captured");
    const [first, ...rest] = await bus.range(topology.streams.events, filter, 1, 100);
    for (const message of [first, rest.at(-1)]) {
      if (message === undefined) return expect.fail("no event");
      const { subject, headers, data } = message;
      await bus.append({ subject, headers, data });
    }
    // Behind them in the stream: when it is counted, they have been seen.
    await orders().placeOrder({ ...orderOf("f-1"), customerId: "after" });
    await expectExact();
  });

  it("keep refunds of a part apart from the sale", async () => {
    await system.product("part", 10n, 1_000n, 1_900);
    const { order } = await orders().placeOrder({ ...orderOf("part", 2), customerId: "refunded" });
    const paymentId = order?.paymentIds[0] ?? "";
    for (const amount of [1n, 999n, 190n]) {
      await system.client(PaymentService).refundPayment({ paymentId, amount: EUR(amount) });
    }
    // Half of 23.80 is back: half of the price without tax too; the goods are not.
    const sales = async () => (await figures().getSalesByProduct({ productId: "part" })).sales;
    await expect.poll(sales, SOON).toMatchObject({ units: 2n, orders: 1n, revenue: EUR(1_000n) });
    const { topCustomers } = await figures().getTopCustomers({ limit: 100 });
    const customer = topCustomers?.customers.find(({ customerId }) => customerId === "refunded");
    expect(customer?.spent).toMatchObject(EUR(1_190n));
    const { verdict, checks } = await system.client(OpsService).reconcile({});
    expect(checks.filter((check) => check.verdict !== ReconcileVerdict.CLEAN)).toEqual([]);
    expect(verdict).toBe(ReconcileVerdict.CLEAN);
  });

  it("keep currencies apart", async () => {
    const before = await shown();
    const price = { currencyCode: "JPY", minorUnits: 500n };
    const yenProduct = { productId: "yen", name: "yen", price, initialStock: 10n };
    await system.client(CatalogService).createProduct(yenProduct);
    await orders().placeOrder(orderOf("yen", 3));
    const yen = async () => (await figures().getTotalSales({ currencyCode: "JPY" })).totalSales;
    await expect
      .poll(yen, SOON)
      .toMatchObject({ gross: { currencyCode: "JPY", minorUnits: 1_500n }, orders: 1n });
    expect(await shown()).toEqual(before);
  });
});

describe("rankings and lists", () => {
  it("have as many entries as are asked for, five by default", async () => {
    const { topProducts } = await figures().getTopProducts({});
    expect(topProducts).toMatchObject({ measure: Measure.REVENUE });
    expect(topProducts?.products.map(({ rank }) => rank)).toEqual([1, 2, 3, 4, 5]);
    expect((await figures().getTopCustomers({ limit: 2 })).topCustomers?.customers).toHaveLength(2);
  });

  it("give every product sold once, page by page, by revenue", async () => {
    const whole = (await figures().listSalesByProduct({ pageSize: 500 })).products;
    const paged: string[] = [];
    let pageToken = "";
    do {
      const page = await figures().listSalesByProduct({ pageSize: 4, pageToken });
      paged.push(...page.products.map(({ productId }) => productId));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(paged).toEqual(whole.map(({ productId }) => productId));
    const revenues = whole.map(({ revenue }) => revenue?.minorUnits ?? 0n);
    expect(revenues).toEqual(revenues.toSorted((a, b) => (a > b ? -1 : a < b ? 1 : 0)));
  });
});

describe("the series", () => {
  it("has one point a minute without gaps, 60 by default, and the wanted range", async () => {
    const { series } = await figures().getSalesSeries({});
    const starts = (series?.points ?? []).map(({ start }) => (start ? timestampDate(start).getTime() : 0));
    expect(starts).toHaveLength(60);
    expect(starts).toEqual(starts.map((_, i) => (starts[0] ?? 0) + i * 60_000));
    expect((starts.at(-1) ?? 0) + 60_000).toBeGreaterThan(systemClock.nowMs() - 60_000);
    const end = Math.floor(systemClock.nowMs() / 60_000) * 60_000;
    const range = { start: timestampFromMs(end - 3 * 60_000), end: timestampFromMs(end) };
    const past = await figures().getSalesSeries({ range });
    expect(past.series?.points.map(({ start }) => (start ? timestampDate(start).getTime() : 0))).toEqual([
      end - 180_000,
      end - 120_000,
      end - 60_000,
    ]);
  });
});
