import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CatalogService } from "../../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import { InventoryService } from "../../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { OpsService, ReconcileVerdict } from "../../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { type Order, OrderReasonCode, OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import { OrderService } from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { orderOf, paidBy, pause, readUntil, SOON } from "./calls.ts";
import { startSystem, type System } from "./system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

type Request = ReturnType<typeof orderOf>;

async function place(request: Request): Promise<Order> {
  const { order, waitReached } = await system.client(OrderService).placeOrder(request);
  expect(waitReached).toBe(true);
  return order ?? expect.fail("no order");
}

const placeAll = (requests: readonly Request[]) => Promise.all(requests.map(place));
const countOf = (orders: readonly Order[], status: OrderStatus) =>
  orders.filter((order) => order.status === status).length;

async function stockOf(productId: string) {
  const { stock } = await system.client(InventoryService).getStock({ productId });
  return { onHand: stock?.onHand, reserved: stock?.reserved, revision: stock?.revision };
}

/** What goes back or is sold reaches the stock a moment after the order has answered. */
async function expectStock(productId: string, onHand: bigint): Promise<void> {
  await expect.poll(() => stockOf(productId), SOON).toMatchObject({ onHand, reserved: 0n });
}

const authorizationsOf = (orders: readonly Order[]) => {
  const ids = new Set(orders.map(({ id }) => id));
  return system.psp.simulator
    .ledger()
    .filter(({ operation, key }) => operation === "authorize" && ids.has(key.split(":")[0] ?? ""));
};

describe("stock under competing orders", () => {
  it("T1 sells one unit to exactly one of forty buyers, and asks nobody else for money", async () => {
    await system.product("last", 1n);
    const levels: bigint[] = [];
    const watching = readUntil(
      (signal) => system.client(InventoryService).watchStock({ productIds: ["last"] }, { signal }),
      (all) => {
        const { event } = all.at(-1) ?? {};
        if (event?.case === "snapshot") levels.push(...event.value.stocks.map(({ onHand }) => onHand));
        if (event?.case === "update") levels.push(event.value.onHand);
        return event?.case === "update" && event.value.onHand <= 0n && event.value.reserved === 0n;
      },
    );
    const orders = await placeAll(Array.from({ length: 40 }, () => orderOf("last")));
    await watching;
    expect(countOf(orders, OrderStatus.CONFIRMED)).toBe(1);
    expect(countOf(orders, OrderStatus.REJECTED)).toBe(39);
    const refused = orders.filter(({ status }) => status === OrderStatus.REJECTED);
    for (const { reason } of refused) {
      expect(reason).toMatchObject({
        code: OrderReasonCode.OUT_OF_STOCK,
        shortages: [{ productId: "last", requested: 1, available: 0n }],
      });
    }
    expect(levels.every((level) => level >= 0n)).toBe(true);
    await expectStock("last", 0n);
    expect(authorizationsOf(orders)).toHaveLength(1);
  });

  it("T1 never sells more than there is while orders are declined and give back", async () => {
    await system.product("few", 10n);
    const tokens = ["tok_ok", "tok_decline", "tok_slow_20"];
    const requests = Array.from({ length: 45 }, (_, i) => orderOf("few", 1 + (i % 2), tokens[i % 3]));
    const orders = await placeAll(requests);
    const sold = orders
      .filter(({ status }) => status === OrderStatus.CONFIRMED)
      .reduce((sum, { lines }) => sum + (lines[0]?.quantity ?? 0), 0);
    expect(sold).toBeGreaterThan(0);
    expect(sold).toBeLessThanOrEqual(10);
    await expectStock("few", 10n - BigInt(sold));
  });

  it("T24 confirms a hundred concurrent orders of one product, none refused by chance", async () => {
    await system.product("hot", 1_000n);
    const orders = await placeAll(Array.from({ length: 100 }, () => orderOf("hot", 3)));
    expect(countOf(orders, OrderStatus.CONFIRMED)).toBe(100);
    await expectStock("hot", 700n);
  });

  it("lets one of two orders win that want the same two products in opposite order", async () => {
    for (let round = 0; round < 10; round++) {
      const [a, b] = [`cross-${round}-a`, `cross-${round}-b`];
      await Promise.all([system.product(a, 1n), system.product(b, 1n)]);
      const lines = [a, b].map((productId) => ({ productId, quantity: 1 }));
      const requests = [lines, lines.toReversed()].map((wanted) => ({ ...orderOf(a), lines: wanted }));
      const orders = await placeAll(requests);
      expect(countOf(orders, OrderStatus.CONFIRMED)).toBe(1);
    }
  });
});

describe("orders of several lines", () => {
  it("T2 adds up lines of one product before it holds them", async () => {
    await system.product("twice", 5n);
    const line = { productId: "twice", quantity: 3 };
    const short = await place({ ...orderOf("twice"), lines: [line, line] });
    expect(short).toMatchObject({
      status: OrderStatus.REJECTED,
      lines: [{ productId: "twice", quantity: 6 }],
      reason: { shortages: [{ productId: "twice", requested: 6, available: 5n }] },
    });
    await expectStock("twice", 5n);
    const other = { productId: "twice", quantity: 2 };
    const fits = await place({ ...orderOf("twice"), lines: [line, other] });
    expect(fits).toMatchObject({ status: OrderStatus.CONFIRMED, lines: [{ quantity: 5 }] });
    await expectStock("twice", 0n);
  });

  it("T3 gives back the first line once when the second of three is short", async () => {
    await Promise.all([system.product("l1", 5n), system.product("l2", 1n), system.product("l3", 5n)]);
    const before = await Promise.all(["l1", "l2", "l3"].map(stockOf));
    const lines = ["l3", "l1", "l2"].map((productId) => ({ productId, quantity: 2 }));
    const order = await place({ ...orderOf("l1"), lines });
    expect(order).toMatchObject({
      status: OrderStatus.REJECTED,
      reason: { shortages: [{ productId: "l2", requested: 2, available: 1n }] },
    });
    expect(order.lines.map(({ quantityHeld }) => quantityHeld)).toEqual([0, 0, 0]);
    await Promise.all([expectStock("l1", 5n), expectStock("l2", 1n), expectStock("l3", 5n)]);
    await pause(100); // room for a second release
    const after = await Promise.all(["l1", "l2", "l3"].map(stockOf));
    const steps = after.map(({ revision }, i) => (revision ?? 0n) - (before[i]?.revision ?? 0n));
    expect(steps).toEqual([2n, 0n, 0n]); // held and released; never touched; never reached
    expect(authorizationsOf([order])).toEqual([]);
  });

  it("T3 gives every line back once when the payment is declined or the charge fails", async () => {
    await Promise.all([system.product("d1", 5n), system.product("d2", 5n)]);
    const lines = ["d1", "d2"].map((productId) => ({ productId, quantity: 2 }));
    const declined = await place({ ...orderOf("d1"), lines, ...paidBy("tok_decline") });
    expect(declined.status).toBe(OrderStatus.REJECTED);
    const failed = await place({ ...orderOf("d1"), lines, ...paidBy("tok_capture_decline") });
    expect(failed).toMatchObject({
      status: OrderStatus.FAILED,
      reason: { code: OrderReasonCode.PAYMENT_DECLINED },
    });
    for (const productId of ["d1", "d2"]) await expectStock(productId, 5n);
  });

  it("T15 rejects an order of which nothing at all is available", async () => {
    await Promise.all([system.product("none-1", 0n), system.product("none-2", 0n)]);
    const lines = ["none-2", "none-1"].map((productId) => ({ productId, quantity: 1 }));
    const order = await place({ ...orderOf("none-1"), lines });
    expect(order).toMatchObject({
      status: OrderStatus.REJECTED,
      reason: {
        code: OrderReasonCode.OUT_OF_STOCK,
        shortages: [{ productId: "none-1", requested: 1, available: 0n }],
      },
    });
    const { deadLettersOpen } = await system.client(OpsService).getSystemStatus({});
    expect(deadLettersOpen).toBe(0n);
  });

  it("T15 keeps back the safety stock", async () => {
    const price = { currencyCode: "EUR", minorUnits: 100n };
    const safe = { productId: "safe", name: "safe", price, initialStock: 5n, safetyStock: 3n };
    await system.client(CatalogService).createProduct(safe);
    expect(await place(orderOf("safe", 3))).toMatchObject({
      status: OrderStatus.REJECTED,
      reason: { shortages: [{ available: 2n }] },
    });
    expect((await place(orderOf("safe", 2))).status).toBe(OrderStatus.CONFIRMED);
  });
});

it("leaves books that agree", async () => {
  const { verdict, checks } = await system.client(OpsService).reconcile({});
  expect(checks.filter((check) => check.verdict !== ReconcileVerdict.CLEAN)).toEqual([]);
  expect(verdict).toBe(ReconcileVerdict.CLEAN);
});
