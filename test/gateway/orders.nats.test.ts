import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ErrorInfoSchema } from "../../proto/gen/google/rpc/error_details_pb.ts";
import { AnalyticsService } from "../../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { CatalogService } from "../../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import { InventoryService } from "../../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { OpsService, ReconcileVerdict } from "../../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { OrderReasonCode, OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import { OrderService, Wait } from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { PaymentStatus } from "../../proto/gen/tradewind/payment/v1/payment_pb.ts";
import { PaymentService } from "../../proto/gen/tradewind/payment/v1/payment_service_pb.ts";
import { startSystem, type TestSystem } from "./system.ts";

let system: TestSystem;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system?.[Symbol.asyncDispose]());

const PAID = { methodToken: "tok_ok" };
const EUR = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });

function orderOf(productId: string, quantity = 1) {
  return { customerId: "ada", lines: [{ productId, quantity }], payment: PAID, wait: Wait.SETTLED };
}

async function countsOf(productId: string): Promise<readonly (bigint | undefined)[]> {
  const { stock } = await system.client(InventoryService).getStock({ productId });
  return [stock?.onHand, stock?.reserved];
}

async function errorOf(call: Promise<unknown>): Promise<{ code: Code; reason: string; metadata: object }> {
  const error = await call.then(
    () => expect.fail("the call did not fail"),
    (thrown: unknown) => ConnectError.from(thrown),
  );
  const [info] = error.findDetails(ErrorInfoSchema);
  return { code: error.code, reason: info?.reason ?? "", metadata: info?.metadata ?? {} };
}

describe("PlaceOrder", () => {
  it("settles with server-side prices, tax half up, and a snapshot of them", async () => {
    await system.product("p-tax", 10n, 799n, 700);
    const { order, waitReached } = await system.client(OrderService).placeOrder(orderOf("p-tax", 2));
    expect(waitReached).toBe(true);
    expect(order).toMatchObject({ status: OrderStatus.CONFIRMED, paymentStatus: PaymentStatus.CAPTURED });
    expect([order?.subtotal, order?.tax, order?.total].map((sum) => sum?.minorUnits)).toEqual([
      1598n,
      112n,
      1710n,
    ]);
    await system.client(CatalogService).updateProduct({ productId: "p-tax", product: { price: EUR(1n) } });
    const later = await system.client(OrderService).getOrder({ orderId: order?.id ?? "" });
    expect(later.order?.lines[0]?.unitPrice?.minorUnits).toBe(799n);
  });

  it("is one order for a hundred parallel repeats of one key, and says so", async () => {
    await system.product("p-once", 500n);
    let replayed = 0;
    const onHeader = (headers: Headers) =>
      void (replayed += headers.get("idempotent-replayed") === "true" ? 1 : 0);
    const calls = Array.from({ length: 100 }, () =>
      system.client(OrderService).placeOrder({ ...orderOf("p-once"), requestId: "same" }, { onHeader }),
    );
    const ids = new Set((await Promise.all(calls)).map(({ order }) => order?.id));
    expect(ids.size).toBe(1);
    // Those that came while the first was under way are answered together with it.
    expect(replayed).toBeGreaterThan(0);
    expect(replayed).toBeLessThan(100);
    await expect.poll(() => countsOf("p-once")).toEqual([499n, 0n]);
  });

  it("refuses another request under a used key, from the header as well", async () => {
    await system.product("p-key", 5n);
    const client = system.client(OrderService);
    await client.placeOrder({ ...orderOf("p-key"), requestId: "used" });
    const headers = { "idempotency-key": "used" };
    const other = await errorOf(client.placeOrder(orderOf("p-key", 2), { headers }));
    expect(other).toMatchObject({ code: Code.FailedPrecondition, reason: "IDEMPOTENCY_KEY_REUSED" });
  });

  it("answers a repeat as before although the product is not for sale any more", async () => {
    await system.product("p-gone", 5n);
    const client = system.client(OrderService);
    const first = await client.placeOrder({ ...orderOf("p-gone"), requestId: "kept" });
    await system.client(CatalogService).updateProduct({ productId: "p-gone", product: { archived: true } });
    const again = await client.placeOrder({ ...orderOf("p-gone"), requestId: "kept" });
    expect(again.order?.id).toBe(first.order?.id);
    expect(await errorOf(client.placeOrder(orderOf("p-gone")))).toMatchObject({ reason: "PRODUCT_ARCHIVED" });
  });

  it("takes a refused request anew under the same key", async () => {
    const client = system.client(OrderService);
    const request = { ...orderOf("p-late"), requestId: "retried" };
    expect(await errorOf(client.placeOrder(request))).toMatchObject({
      code: Code.NotFound,
      reason: "NOT_FOUND",
    });
    await system.product("p-late", 5n);
    expect((await client.placeOrder(request)).order?.status).toBe(OrderStatus.CONFIRMED);
  });

  it("waits on for a repeat that wants to wait further than the first", async () => {
    await system.product("p-wait", 5n);
    const client = system.client(OrderService);
    const request = { ...orderOf("p-wait"), payment: { methodToken: "tok_slow_300" }, requestId: "further" };
    const accepted = await client.placeOrder({ ...request, wait: Wait.ACCEPTED });
    expect(accepted.order?.status).toBe(OrderStatus.PENDING);
    const settled = await client.placeOrder(request);
    expect(settled).toMatchObject({ waitReached: true, order: { status: OrderStatus.CONFIRMED } });
  });

  it("answers with the order as it is when the time is over", async () => {
    await system.product("p-slow", 5n);
    const request = { ...orderOf("p-slow"), payment: { methodToken: "tok_slow_2000" } };
    const timeout = { seconds: 0n, nanos: 200_000_000 };
    const { order, waitReached } = await system.client(OrderService).placeOrder({ ...request, timeout });
    expect(waitReached).toBe(false);
    expect(order?.status).toBe(OrderStatus.AWAITING_PAYMENT);
  });

  it("rejects what is out of stock or declined, and gives the stock back", async () => {
    await system.product("p-short", 3n);
    const client = system.client(OrderService);
    const short = await client.placeOrder(orderOf("p-short", 4));
    expect(short.order).toMatchObject({
      status: OrderStatus.REJECTED,
      reason: {
        code: OrderReasonCode.OUT_OF_STOCK,
        shortages: [{ productId: "p-short", requested: 4, available: 3n }],
      },
    });
    const declined = await client.placeOrder({
      ...orderOf("p-short"),
      payment: { methodToken: "tok_decline" },
    });
    expect(declined.order).toMatchObject({
      status: OrderStatus.REJECTED,
      reason: { code: OrderReasonCode.PAYMENT_DECLINED },
    });
    // What was held goes back by a message to the stock.
    await expect.poll(() => countsOf("p-short")).toEqual([3n, 0n]);
  });

  it("sells one unit to one of fifty buyers", async () => {
    await system.product("p-last", 1n);
    const client = system.client(OrderService);
    const buyers = Array.from({ length: 50 }, (_, i) =>
      client.placeOrder({ ...orderOf("p-last"), customerId: `buyer-${i}` }),
    );
    const statuses = (await Promise.all(buyers)).map(({ order }) => order?.status);
    expect(statuses.filter((status) => status === OrderStatus.CONFIRMED)).toHaveLength(1);
    expect(statuses.filter((status) => status === OrderStatus.REJECTED)).toHaveLength(49);
    await expect.poll(() => countsOf("p-last")).toEqual([0n, 0n]);
  });

  it("checks the total that the caller expects, in its currency", async () => {
    await system.product("p-total", 5n, 250n);
    const client = system.client(OrderService);
    const wrong = await errorOf(client.placeOrder({ ...orderOf("p-total", 2), expectedTotal: EUR(400n) }));
    expect(wrong).toMatchObject({ reason: "PRICE_CHANGED", metadata: { expected: "400", actual: "500" } });
    const right = await client.placeOrder({ ...orderOf("p-total", 2), expectedTotal: EUR(500n) });
    expect(right.order?.status).toBe(OrderStatus.CONFIRMED);
  });

  it("adds the lines of one product up, and refuses more than can be", async () => {
    await system.product("p-lines", 5n);
    const client = system.client(OrderService);
    const line = { productId: "p-lines", quantity: 2 };
    const { order } = await client.placeOrder({ ...orderOf("p-lines"), lines: [line, line] });
    expect(order?.lines.map(({ quantity }) => quantity)).toEqual([4]);
    const huge = { productId: "p-lines", quantity: 600_000 };
    expect(await errorOf(client.placeOrder({ ...orderOf("p-lines"), lines: [huge, huge] }))).toMatchObject({
      code: Code.InvalidArgument,
    });
  });
});

describe("lists", () => {
  it("pages newest first, with filters that hold on every page", async () => {
    await system.product("p-list", 100n);
    const client = system.client(OrderService);
    const placed: string[] = [];
    for (let i = 0; i < 7; i++) {
      const customerId = i % 2 === 0 ? "even" : "odd";
      const { order } = await client.placeOrder({ ...orderOf("p-list"), customerId });
      placed.unshift(order?.id ?? "");
    }
    const filter = { productId: "p-list", statuses: [OrderStatus.CONFIRMED] };
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await client.listOrders({ filter, pageSize: 2, pageToken });
      seen.push(...page.orders.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).toEqual(placed);
    const even = await client.listOrders({ filter: { productId: "p-list", customerId: "even" } });
    expect(even.orders).toHaveLength(4);
    const first = await client.listOrders({ filter, pageSize: 2 });
    const stolen = client.listOrders({ filter: { customerId: "odd" }, pageToken: first.nextPageToken });
    expect(await errorOf(stolen)).toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
  });

  it("keeps to a range of time", async () => {
    await system.product("p-time", 10n);
    const client = system.client(OrderService);
    const orders = [];
    for (let i = 0; i < 3; i++) orders.push((await client.placeOrder(orderOf("p-time"))).order);
    const created = { start: orders[1]?.createdAt, end: orders[2]?.createdAt };
    const page = await client.listOrders({ filter: { productId: "p-time", created } as never });
    expect(page.orders.map(({ id }) => id)).toEqual([orders[1]?.id]);
    expect(page.nextPageToken).toBe("");
  });
});

describe("payments and cancelling", () => {
  it("pays later, refunds a part, and cancels with the rest refunded", async () => {
    await system.product("p-pay", 5n, 1_000n);
    const client = system.client(OrderService);
    const payments = system.client(PaymentService);
    const { order } = await client.placeOrder({
      ...orderOf("p-pay"),
      payment: undefined as never,
      wait: Wait.HELD,
    });
    expect(order).toMatchObject({
      status: OrderStatus.AWAITING_PAYMENT,
      lines: [{ quantityHeld: 1 }],
      paymentIds: [],
    });
    const orderId = order?.id ?? "";
    const timeout = { seconds: 5n };
    const declined = await payments.payOrder({ orderId, payment: { methodToken: "tok_decline" }, timeout });
    expect(declined.payment?.status).toBe(PaymentStatus.DECLINED);
    const { payment } = await payments.payOrder({ orderId, payment: PAID, timeout });
    expect(payment).toMatchObject({
      status: PaymentStatus.CAPTURED,
      orderId,
      capturedAmount: { minorUnits: 1_000n },
    });
    const paymentId = payment?.id ?? "";
    const refund = { paymentId, amount: EUR(300n), requestId: "refund-1" };
    const [first, second] = await Promise.all([
      payments.refundPayment(refund),
      payments.refundPayment(refund),
    ]);
    expect(second.refund?.id).toBe(first.refund?.id);
    expect(await errorOf(payments.refundPayment({ paymentId, amount: EUR(701n) }))).toMatchObject({
      reason: "REFUND_EXCEEDS_CAPTURED",
      metadata: { refundable: "700" },
    });
    const cancelled = await client.cancelOrder({ orderId, reason: "too late" });
    expect([OrderStatus.CANCELLING, OrderStatus.CANCELLED]).toContain(cancelled.order?.status);
    await expect
      .poll(async () => (await client.getOrder({ orderId })).order?.status)
      .toBe(OrderStatus.CANCELLED);
    const listed = await payments.listPayments({ orderId });
    expect(listed.payments[0]).toMatchObject({
      status: PaymentStatus.REFUNDED,
      refundedAmount: { minorUnits: 1_000n },
    });
    const events = async () => (await client.getOrderHistory({ orderId })).entries.map(({ event }) => event);
    await expect.poll(async () => (await events()).at(-1), { timeout: 5_000 }).toBe("cancelled");
    expect((await events()).slice(0, 2)).toEqual(["placed", "held"]);
    expect(await events()).toContain("payment_declined");
    expect(await errorOf(payments.payOrder({ orderId, payment: PAID }))).toMatchObject({
      reason: "INVALID_TRANSITION",
      metadata: { from: "CANCELLED" },
    });
  });

  it("knows no order, payment or dead letter that is not there", async () => {
    const orders = system.client(OrderService);
    const calls = [
      orders.getOrder({ orderId: "ord_none" }),
      orders.cancelOrder({ orderId: "ord_none" }),
      orders.getOrderHistory({ orderId: "ord_none" }),
      system.client(PaymentService).getPayment({ paymentId: "pay_none" }),
      system.client(PaymentService).payOrder({ orderId: "ord_none", payment: PAID }),
      system.client(PaymentService).refundPayment({ paymentId: "none" }),
      system.client(InventoryService).adjustStock({ productId: "none", delta: 1n }),
      system.client(CatalogService).updateProduct({ productId: "none", product: { name: "n" } }),
      system.client(OpsService).redriveDeadLetter({ deadLetterId: "none" }),
    ];
    const errors = await Promise.all(calls.map((call) => errorOf(call)));
    for (const error of errors) expect(error).toMatchObject({ code: Code.NotFound, reason: "NOT_FOUND" });
  });
});

describe("catalogue and stock", () => {
  it("changes the named fields and no other", async () => {
    const client = system.client(CatalogService);
    await client.createProduct({
      productId: "p-mask",
      name: "Old",
      price: EUR(5n),
      description: "kept",
      initialStock: 7n,
    });
    const { product } = await client.updateProduct({
      productId: "p-mask",
      product: { name: "New" },
      etag: "r1",
    });
    expect(product).toMatchObject({ name: "New", description: "kept", price: { minorUnits: 5n } });
    const stale = client.updateProduct({ productId: "p-mask", product: { name: "Late" }, etag: "r1" });
    expect(await errorOf(stale)).toMatchObject({ code: Code.Aborted, reason: "ETAG_MISMATCH" });
    const cleared = await client.updateProduct({
      productId: "p-mask",
      product: {},
      updateMask: { paths: ["description"] },
    });
    expect(cleared.product).toMatchObject({ name: "New", description: "" });
    const { stock } = await system.client(InventoryService).getStock({ productId: "p-mask" });
    expect(stock?.onHand).toBe(7n);
  });

  it.each([
    [{ product: { name: "x" }, updateMask: { paths: ["price"] } }, "product.price"],
    [{ product: { name: "x" }, updateMask: { paths: ["nonsense"] } }, "update_mask"],
    [{ product: { name: "x" }, updateMask: { paths: [] } }, "product"],
    [{ product: { name: "x" }, etag: "nonsense" }, "etag"],
  ])("refuses %o", async (change, field) => {
    const call = system.client(CatalogService).updateProduct({ productId: "p-any", ...change });
    await expect(call).rejects.toThrow(field);
  });

  it("adjusts once for each key, and not below nothing", async () => {
    await system.product("p-adj", 5n);
    const client = system.client(InventoryService);
    const change = { productId: "p-adj", delta: 3n, requestId: "adj" };
    const both = await Promise.all([client.adjustStock(change), client.adjustStock(change)]);
    expect(both.map(({ stock }) => stock?.onHand)).toEqual([8n, 8n]);
    const below = await errorOf(client.adjustStock({ productId: "p-adj", delta: -9n }));
    expect(below).toMatchObject({ reason: "INSUFFICIENT_STOCK", metadata: { available: "8" } });
    const forced = await client.adjustStock({ productId: "p-adj", delta: -9n, force: true });
    expect(forced.stock?.onHand).toBe(-1n);
    const { stocks } = await client.listStock({ lowOnly: true, pageSize: 500 });
    expect(stocks.map(({ productId }) => productId)).toContain("p-adj");
    const lines = [{ productId: "p-adj", quantity: 1 }];
    expect(await client.checkAvailability({ lines })).toMatchObject({ allAvailable: false });
    await client.adjustStock({ productId: "p-adj", delta: 1n, force: true });
  });
});

describe("figures", () => {
  it("are equal to what was sold, and the books agree", async () => {
    const ops = system.client(OpsService);
    await expect.poll(async () => (await ops.reconcile({})).ordersOpen, { timeout: 10_000 }).toBe(0n);
    const before = await system.client(AnalyticsService).getTotalSales({});
    await system.product("p-fig", 100n, 200n);
    const orders = system.client(OrderService);
    await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        orders.placeOrder({ ...orderOf("p-fig", 2), customerId: `fig-${i % 4}` }),
      ),
    );
    const analytics = system.client(AnalyticsService);
    const grown = async () => {
      const { totalSales } = await analytics.getTotalSales({});
      return (totalSales?.orders ?? 0n) - (before.totalSales?.orders ?? 0n);
    };
    await expect.poll(grown, { timeout: 5_000 }).toBe(20n);
    const { sales } = await analytics.getSalesByProduct({ productId: "p-fig" });
    expect(sales).toMatchObject({ units: 40n, orders: 20n, revenue: { minorUnits: 8_000n } });
    const { topCustomers } = await analytics.getTopCustomers({ limit: 100 });
    const spent = topCustomers?.customers.filter(({ customerId }) => customerId.startsWith("fig-"));
    expect(spent?.map(({ spent: sum, orders: count }) => [sum?.minorUnits, count])).toEqual(
      Array(4).fill([2_000n, 5n]),
    );
    const { products } = await analytics.listSalesByProduct({ pageSize: 500 });
    const revenues = products.map(({ revenue }) => revenue?.minorUnits ?? 0n);
    expect(revenues).toEqual(revenues.toSorted((a, b) => (a > b ? -1 : a < b ? 1 : 0)));
    const { series } = await analytics.getSalesSeries({});
    expect(series?.points).toHaveLength(60);
    const { totalSales } = await analytics.getTotalSales({});
    const gross = series?.points.reduce((sum, point) => sum + (point.gross?.minorUnits ?? 0n), 0n);
    expect(gross).toBe(totalSales?.gross?.minorUnits);
    const { verdict, checks } = await ops.reconcile({});
    expect(checks.filter(({ verdict: one }) => one !== ReconcileVerdict.CLEAN)).toEqual([]);
    expect(verdict).toBe(ReconcileVerdict.CLEAN);
  });
});

describe("operations", () => {
  it("shows every log with its owner, the server and the streams", async () => {
    await expect
      .poll(async () => (await system.client(OpsService).getSystemStatus({})).problems, { timeout: 5_000 })
      .toEqual([]);
    const status = await system.client(OpsService).getSystemStatus({});
    expect(status).toMatchObject({ healthy: true, deadLettersOpen: 0n, nats: { connected: true } });
    expect(status.logs).toHaveLength(8);
    expect(status.streams.map(({ name }) => name)).toContain("KV_actors");
    expect((await system.client(OpsService).listDeadLetters({})).deadLetters).toEqual([]);
  });
});
