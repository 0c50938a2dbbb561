import { fromJsonString, toJson } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  ArchiveActor,
  ArchiveStateSchema,
} from "../proto/gen/tradewind/actors/archive/v1/archive_actor_pb.ts";
import { OrderActor } from "../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { OrderArchivedSchema } from "../proto/gen/tradewind/actors/order/v1/order_events_pb.ts";
import { OrderStateSchema, OrderStatus } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { PaymentActor } from "../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { LEDGER_KEYS_MAX } from "./archive/archive-actor.ts";
import { reconcile } from "./reconcile/reconciler.ts";
import {
  APPROVED,
  DECLINED,
  line,
  orderOf,
  paymentOf,
  place,
  ProjectionWorld,
  stockOf,
  worldWith,
  type World,
} from "./testing.ts";
import { StockStateSchema } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";

const LEDGER = "ledger-0";
const KEEP_SECONDS = 600;

function archive(world: World, key: string, unchangedSinceMs = world.nowMs): void {
  const message = { unchangedSinceMs: BigInt(unchangedSinceMs), ledger: LEDGER, keepSeconds: KEEP_SECONDS };
  world.request(OrderActor.method.archive, key, message);
  world.run();
}

function settleAll(world: World): void {
  world.run();
  while (world.calls.length > 0) {
    world.settle(APPROVED);
    world.run();
  }
}

/** A confirmed order of 10.00 + 19 % tax. */
function sold(): World {
  const world = worldWith({ a: 5n });
  place(world, "o1", { lines: [line("a", 1)] });
  settleAll(world);
  return world;
}

const ledgerOf = (world: World, key = LEDGER) => world.state(ArchiveStateSchema, "archive", key);

function booksOf(world: World, archived: readonly string[] = [LEDGER]) {
  const analytics = new ProjectionWorld();
  analytics.apply(world.events);
  const all = <S>(kind: string, of: (key: string) => S) =>
    world.keys(kind).map((key) => ({ key, state: of(key) }));
  return reconcile({
    orders: all("order", (key) => orderOf(world, key)),
    payments: all("payment", (key) => paymentOf(world, key)),
    stocks: all("stock", (key) => world.state(StockStateSchema, "stock", key)),
    archive: archived.map((key) => ({ key, state: ledgerOf(world, key) })),
    analytics: [...analytics.records].map(([key, state]) => ({ key, state })),
    nowMs: world.nowMs + 60_000,
  });
}

const unclean = (world: World) =>
  booksOf(world)
    .checks.filter(({ verdict }) => verdict !== "clean")
    .map(({ name }) => name);

describe("an order that leaves for the archive", () => {
  it("takes its payment along, adds its figures to the ledger and itself to the events", () => {
    const world = sold();
    const before = toJson(OrderStateSchema, orderOf(world, "o1"));
    archive(world, "o1");
    expect([orderOf(world, "o1").archivedMs, paymentOf(world, "o1").archivedMs]).toEqual([
      BigInt(world.nowMs),
      BigInt(world.nowMs),
    ]);
    const ttls = ["order", "payment"].map((kind) => world.probe(kind, "o1").ttlSeconds);
    expect(ttls).toEqual([KEEP_SECONDS, KEEP_SECONDS]);
    expect(ledgerOf(world).sums["total-EUR"]).toMatchObject({ gross: 1_190n, orders: 1n, units: 1n });
    expect(ledgerOf(world).sums["stock-a"]).toMatchObject({ sold: 1n, returned: 0n });
    const last = world.events.at(-1);
    const event = fromJsonString(OrderArchivedSchema, new TextDecoder().decode(last?.json));
    expect(event.order && toJson(OrderStateSchema, event.order)).toEqual(before);
    expect(event.payment).toMatchObject({ captured: 1_190n });
    expect(booksOf(world)).toMatchObject({ orders: 0, ordersArchived: 1n });
    expect(unclean(world)).toEqual([]);
  });

  it("leaves once, however often it is asked", () => {
    const world = sold();
    for (let i = 0; i < 3; i++) archive(world, "o1");
    expect(ledgerOf(world).orders).toBe(1n);
    expect(world.eventTypes("o1").filter((type) => type === "OrderArchived")).toHaveLength(1);
  });

  it("leaves without a payment if it never had one", () => {
    const world = worldWith({ a: 1n });
    place(world, "o1", { lines: [line("a", 2)] });
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.REJECTED);
    archive(world, "o1");
    expect(orderOf(world, "o1").archivedMs).not.toBe(0n);
    expect(unclean(world)).toEqual([]);
  });

  it("stays while it is too young, unpaid, being charged, or being paid back", () => {
    const young = sold();
    archive(young, "o1", young.nowMs - 1);
    const unpaid = worldWith({ a: 5n });
    place(unpaid, "o1", { lines: [line("a", 1)], methodToken: "", wait: 0 });
    unpaid.run();
    archive(unpaid, "o1");
    const charging = worldWith({ a: 5n });
    place(charging, "o1", { lines: [line("a", 1)] });
    charging.run();
    charging.settle(APPROVED);
    archive(charging, "o1");
    const refunding = sold();
    refunding.request(PaymentActor.method.refund, "o1", { amount: 90n });
    archive(refunding, "o1");
    for (const world of [young, unpaid, charging, refunding]) {
      expect(orderOf(world, "o1").archivedMs).toBe(0n);
      expect(world.keys("archive")).toEqual([]);
    }
    settleAll(refunding);
    archive(refunding, "o1");
    expect(ledgerOf(refunding).sums["total-EUR"]).toMatchObject({ gross: 1_190n, refunds: 90n });
    expect(unclean(refunding)).toEqual([]);
  });

  it("stays where order and payment disagree, so that Reconcile goes on to show it", () => {
    const world = sold();
    orderOf(world, "o1").captured += 1n;
    archive(world, "o1");
    expect(orderOf(world, "o1").archivedMs).toBe(0n);
    expect(unclean(world)).toContain("payment_captured");
  });

  it("can only be read from then on", () => {
    const world = sold();
    archive(world, "o1");
    const gone = expect.objectContaining({ reason: "NOT_FOUND" });
    expect(() => world.request(OrderActor.method.cancel, "o1", {})).toThrow(gone);
    expect(() => world.request(PaymentActor.method.refund, "o1", { amount: 1n })).toThrow(gone);
    expect(() => world.request(OrderActor.method.pay, "o1", { methodToken: "tok_ok" })).toThrow(
      expect.objectContaining({ reason: "INVALID_TRANSITION" }),
    );
    expect(unclean(world)).toEqual([]);
  });

  it("comes back when the provider's answer to a charge that was given up comes even later", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)] });
    world.run();
    world.settle(APPROVED);
    world.run();
    const [capture] = world.calls;
    world.settle("gave_up", capture);
    world.run();
    for (const call of world.calls.filter((call) => call !== capture)) world.settle(APPROVED, call);
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.FAILED);
    archive(world, "o1");
    expect(ledgerOf(world).orders).toBe(1n);
    world.settle(APPROVED, capture); // it was charged after all: paid back
    settleAll(world);
    expect([ledgerOf(world).orders, orderOf(world, "o1").archivedMs]).toEqual([0n, 0n]);
    expect(orderOf(world, "o1")).toMatchObject({ captured: 1_190n, refunded: 1_190n });
    expect(world.probe("order", "o1").ttlSeconds).toBe(0);
    expect(unclean(world)).toEqual([]);
    archive(world, "o1");
    expect(booksOf(world)).toMatchObject({ orders: 0, ordersArchived: 1n });
    expect(unclean(world)).toEqual([]);
  });

  it("is missed by Reconcile when the ledger is wrong by one unit", () => {
    const world = sold();
    archive(world, "o1");
    const units = ledgerOf(world).sums["product-EUR-a"];
    if (units !== undefined) units.units += 1n;
    expect(unclean(world)).toEqual(["analytics_sums", "analytics_rankings"]);
    const stock = ledgerOf(world).sums["stock-a"];
    if (stock !== undefined) stock.sold = 0n;
    expect(unclean(world)).toContain("stock_sold");
    expect(stockOf(world, "a").sold).toBe(1n);
  });

  it("counts declined orders by their reason", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)] });
    world.run();
    world.settle(DECLINED);
    world.run();
    archive(world, "o1");
    expect(ledgerOf(world).sums["funnel"]?.counts).toMatchObject({ "reached.1": 1n, "reasons.2": 1n });
    expect(unclean(world)).toEqual([]);
  });
});

describe("a ledger", () => {
  it("closes a page when it has many keys, and loses nothing", () => {
    const world = worldWith({});
    const count = LEDGER_KEYS_MAX + 10;
    for (let number = 0; number < count; number++) {
      const sums = { "total-EUR": { gross: 2n }, [`customer-EUR-c${number}`]: { gross: 2n, orders: 1n } };
      world.deliver(ArchiveActor.method.add, LEDGER, { orders: 1n, sums });
      world.run();
    }
    expect(world.keys("archive")).toEqual([LEDGER, `${LEDGER}-0`]);
    const [open, page] = [ledgerOf(world), ledgerOf(world, `${LEDGER}-0`)];
    expect(Object.keys(page.sums)).toHaveLength(LEDGER_KEYS_MAX + 1);
    expect(open.orders + page.orders).toBe(BigInt(count));
    expect((open.sums["total-EUR"]?.gross ?? 0n) + (page.sums["total-EUR"]?.gross ?? 0n)).toBe(
      2n * BigInt(count),
    );
    expect(open.pages).toBe(1);
  });
});
