import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { AnalyticsStateSchema } from "../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import {
  OrderStatus,
  OrderReasonCode,
  OrderStateSchema,
} from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { PaymentActor } from "../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { StockStateSchema } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { reconcile } from "./reconcile/reconciler.ts";
import {
  APPROVED,
  DECLINED,
  line,
  orderOf,
  place,
  ProjectionWorld,
  worldWith,
  type World,
} from "./testing.ts";

function confirm(world: World, id: string, lines: ReturnType<typeof line>[], customerId = "c1"): void {
  place(world, id, { lines, customerId });
  for (let call = 0; call < 2; call++) {
    world.run();
    world.settle(APPROVED);
  }
  world.run();
}

function figures(world: World) {
  const analytics = new ProjectionWorld();
  analytics.apply(world.events);
  return analytics;
}

const minute = (world: World) => `minute-EUR-${Math.floor(world.nowMs / 60_000)}`;

describe("analytics", () => {
  it("T20 has nothing to say about nothing", () => {
    expect(figures(worldWith({ a: 1n })).records.size).toBe(0);
  });

  it("counts a sale once at its capture, on the tenant, the minute, the customer and the products", () => {
    const world = worldWith({ a: 9n, b: 9n });
    confirm(world, "o1", [line("a", 2), line("b", 1, 500n)]);
    const { records } = figures(world);
    const sums = { gross: 2_975n, refunds: 0n, orders: 1n, units: 3n, unitsReturned: 0n };
    expect(records.get("total-EUR")?.record).toMatchObject({ case: "total", value: sums });
    expect(records.get(minute(world))?.record.value).toMatchObject(sums);
    expect(records.get("customer-EUR-c1")?.record.value).toMatchObject({ gross: 2_975n, orders: 1n });
    expect(records.get("product-EUR-a")?.record.value).toMatchObject({
      name: "A",
      units: 2n,
      revenue: 2_000n,
      orders: 1n,
    });
    expect(records.get("top-products-EUR")?.record.value).toMatchObject({
      revenue: { scores: { a: 2_000n, b: 500n } },
      units: { scores: { a: 2n, b: 1n } },
    });
    expect(records.get("top-customers-EUR")?.record.value).toMatchObject({
      spent: { scores: { c1: 2_975n } },
    });
    expect(records.get("funnel")?.record.value).toMatchObject({
      reached: { [OrderStatus.PENDING]: 1n, [OrderStatus.AWAITING_PAYMENT]: 1n, [OrderStatus.CONFIRMED]: 1n },
    });
  });

  it("T20 keeps sums beyond 2^31 and 2^53 exact", () => {
    const world = worldWith({ a: 9n });
    for (let index = 0; index < 9; index++) {
      confirm(world, `o${index}`, [{ ...line("a", 1, 999_999_999_999_999n), taxRateBp: 0 }]);
    }
    expect(figures(world).records.get("total-EUR")?.record.value).toMatchObject({
      gross: 8_999_999_999_999_991n,
    });
  });

  it("keeps currencies apart", () => {
    const world = worldWith({ a: 9n });
    confirm(world, "o1", [line("a", 1)]);
    confirm(world, "o2", [{ ...line("a", 1), currency: "USD" }]);
    const { records } = figures(world);
    expect(records.get("total-EUR")?.record.value).toMatchObject({ gross: 1_190n, orders: 1n });
    expect(records.get("total-USD")?.record.value).toMatchObject({ gross: 1_190n, orders: 1n });
  });

  it("takes refunds off in the minute of the refund", () => {
    const world = worldWith({ a: 9n });
    confirm(world, "o1", [line("a", 1)]);
    const sold = minute(world);
    world.nowMs += 120_000;
    world.request(PaymentActor.method.refund, "o1", { amount: 119n });
    world.settle(APPROVED);
    world.run();
    const { records } = figures(world);
    expect(records.get(sold)?.record.value).toMatchObject({ gross: 1_190n, refunds: 0n });
    expect(records.get(minute(world))?.record.value).toMatchObject({ gross: 0n, refunds: 119n });
    expect(records.get("product-EUR-a")?.record.value).toMatchObject({
      revenue: 1_000n,
      revenueRefunded: 100n,
    });
    expect(records.get("total-EUR")?.record.value).toMatchObject({ gross: 1_190n, refunds: 119n });
  });

  it("counts why orders were turned away", () => {
    const world = worldWith({ a: 1n });
    place(world, "o1", { lines: [line("a", 5)] });
    place(world, "o2", { lines: [line("a", 1)] });
    world.run();
    world.settle(DECLINED);
    world.run();
    expect(figures(world).records.get("funnel")?.record.value).toMatchObject({
      reached: { [OrderStatus.REJECTED]: 2n },
      reasons: { [OrderReasonCode.OUT_OF_STOCK]: 1n, [OrderReasonCode.PAYMENT_DECLINED]: 1n },
    });
  });
});

describe("reconcile", () => {
  function books(world: World, analytics: ProjectionWorld) {
    return {
      orders: world.keys("order").map((key) => ({ key, state: orderOf(world, key) })),
      payments: [],
      stocks: world.keys("stock").map((key) => ({ key, state: world.state(StockStateSchema, "stock", key) })),
      analytics: [...analytics.records].map(([key, state]) => ({ key, state })),
      nowMs: world.nowMs + 60_000,
    };
  }
  const verdicts = (report: ReturnType<typeof reconcile>) =>
    Object.fromEntries(
      report.checks.filter(({ verdict }) => verdict !== "clean").map(({ name, verdict }) => [name, verdict]),
    );

  it("names what differs, and calls it settling while something moves", () => {
    const world = worldWith({ a: 9n });
    confirm(world, "o1", [line("a", 2)]);
    place(world, "o2", { lines: [line("a", 1)], methodToken: "" });
    world.run();
    const analytics = figures(world);
    const good = books(world, analytics);
    expect(verdicts(reconcile(good))).toEqual({ payment_captured: "different" });
    const [stock] = good.stocks;
    const bad = { key: "a", state: { ...create(StockStateSchema), ...stock?.state, reserved: 7n } };
    const report = reconcile({ ...good, stocks: [bad], analytics: [] });
    expect(verdicts(report)).toEqual({
      stock_reserved: "different",
      payment_captured: "different",
      analytics_sums: "different",
      analytics_rankings: "different",
    });
    expect(report.checks.find(({ name }) => name === "stock_reserved")).toMatchObject({
      expected: "1",
      actual: "7",
      samples: ["a"],
    });
    const now = reconcile({ ...good, stocks: [bad], nowMs: world.nowMs });
    expect(now.checks.find(({ name }) => name === "stock_reserved")?.verdict).toBe("settling");
  });

  it("sees an event that was counted twice, and one that was not", () => {
    const world = worldWith({ a: 9n });
    confirm(world, "o1", [line("a", 2)]);
    const twice = new ProjectionWorld();
    twice.apply(world.events);
    twice.apply(world.events.slice(-1));
    expect(verdicts(reconcile(books(world, twice)))).toMatchObject({ analytics_sums: "different" });
    const missed = new ProjectionWorld();
    missed.apply(world.events.slice(0, -1));
    expect(verdicts(reconcile(books(world, missed)))).toMatchObject({ analytics_sums: "different" });
  });

  it("sees an order that ended and kept its goods", () => {
    const world = worldWith({ a: 9n });
    confirm(world, "o1", [line("a", 2)]);
    const state = create(OrderStateSchema, { ...orderOf(world, "o1"), status: OrderStatus.FAILED });
    const report = reconcile({ ...books(world, figures(world)), orders: [{ key: "o1", state }] });
    expect(verdicts(report)).toMatchObject({ order_goods: "different" });
  });

  it("reads records of any age", () => {
    const report = reconcile({
      orders: [],
      payments: [],
      stocks: [],
      analytics: [{ key: "x", state: create(AnalyticsStateSchema) }],
      nowMs: 0,
    });
    expect(verdicts(report)).toEqual({});
  });
});
