import { timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../platform/clock.ts";
import { InventoryService } from "../../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { OpsService, ReconcileVerdict } from "../../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { type Order, OrderReasonCode, OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import { OrderService, Wait } from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { PaymentStatus } from "../../proto/gen/tradewind/payment/v1/payment_pb.ts";
import { PaymentService } from "../../proto/gen/tradewind/payment/v1/payment_service_pb.ts";
import { EUR, failureOf, orderOf, paidBy, pause, SOON } from "./calls.ts";
import { startSystem, type System } from "./system.ts";

const HOLD_MS = 400;
const PAYMENT_MS = 900;
/** A timer fires within this of its time, on a machine that is busy. */
const LATE_MS_MAX = 1_500;
/** Long enough for a timer to have fired, and shorter than the wait for anything else that looks. */
const IDLE_MS = 700;

let system: System;
beforeAll(async () => {
  const settings = { reservationTtlMs: BigInt(HOLD_MS), paymentDeadlineMs: BigInt(PAYMENT_MS) };
  system = await startSystem({ settings });
});
afterAll(() => system[Symbol.asyncDispose]());

const orders = () => system.client(OrderService);

async function hold(productId: string, quantity = 1, token = ""): Promise<Order> {
  const { order } = await orders().placeOrder({ ...orderOf(productId, quantity, token), wait: Wait.HELD });
  expect(order?.status).toBe(OrderStatus.AWAITING_PAYMENT);
  return order ?? expect.fail("no order");
}

const orderNow = async (orderId: string) => (await orders().getOrder({ orderId })).order;

async function levelsOf(productId: string) {
  const { stock } = await system.client(InventoryService).getStock({ productId });
  return { onHand: stock?.onHand, reserved: stock?.reserved };
}

const effectsOf = (orderId: string) =>
  system.psp.simulator
    .ledger()
    .filter(({ authorizationKey }) => authorizationKey.startsWith(`${orderId}:`))
    .map(({ operation, status }) => `${operation} ${status}`);

/** Expired at its deadline, and neither earlier nor when somebody looked. */
function expectExpiredInTime(order: Order | undefined, deadlineMs: number): void {
  expect(order).toMatchObject({
    status: OrderStatus.EXPIRED,
    lines: [{ quantityHeld: 0 }],
  });
  const closedMs = order?.closedAt === undefined ? 0 : timestampMs(order.closedAt);
  expect(closedMs).toBeGreaterThanOrEqual(deadlineMs);
  expect(closedMs).toBeLessThan(deadlineMs + LATE_MS_MAX);
}

const deadlineOf = ({ holdExpiresAt }: Order) =>
  holdExpiresAt === undefined ? 0 : timestampMs(holdExpiresAt);

describe("holds", () => {
  it("T21 are given back when they run out, and their sum is what stock has reserved", async () => {
    await system.product("held", 40n);
    const held = await Promise.all(Array.from({ length: 12 }, (_, i) => hold("held", 1 + (i % 3))));
    const listed = await orders().listOrders({ filter: { productId: "held" } });
    const sum = listed.orders
      .flatMap(({ lines }) => lines)
      .reduce((total, { quantityHeld }) => total + BigInt(quantityHeld), 0n);
    expect([sum, (await levelsOf("held")).reserved]).toEqual([24n, 24n]);
    await expect.poll(() => levelsOf("held"), SOON).toEqual({ onHand: 40n, reserved: 0n });
    for (const order of held) {
      expectExpiredInTime(await orderNow(order.id), deadlineOf(order));
      expect((await orderNow(order.id))?.reason?.code).toBe(OrderReasonCode.HOLD_EXPIRED);
    }
    const failure = await failureOf(
      system.client(PaymentService).payOrder({ orderId: held[0]?.id ?? "", ...paidBy("tok_ok") }),
    );
    expect(failure).toMatchObject({ reason: "INVALID_TRANSITION", metadata: { from: "EXPIRED" } });
    expect(await failureOf(orders().cancelOrder({ orderId: held[1]?.id ?? "" }))).toMatchObject({
      reason: "INVALID_TRANSITION",
      metadata: { from: "EXPIRED", to: "CANCELLING" },
    });
    expect((await orders().placeOrder(orderOf("held", 40))).order?.status).toBe(OrderStatus.CONFIRMED);
  });

  it("T22 run out although nobody touches their product or looks at it", async () => {
    await system.product("idle", 3n);
    const order = await hold("idle", 3);
    await pause(deadlineOf(order) - systemClock.nowMs() + IDLE_MS);
    const lookedMs = systemClock.nowMs();
    const expired = await orderNow(order.id);
    expectExpiredInTime(expired, deadlineOf(order));
    expect(expired?.closedAt === undefined ? 0 : timestampMs(expired.closedAt)).toBeLessThan(lookedMs);
    expect(await levelsOf("idle")).toEqual({ onHand: 3n, reserved: 0n });
  });

  it("T21 last as long as a payment is under way", async () => {
    await system.product("extended", 1n);
    const { id: orderId } = await hold("extended");
    const timeout = { seconds: 5n };
    // It answers after the hold would have run out.
    const pay = { orderId, ...paidBy(`tok_slow_${HOLD_MS + 150}`), timeout };
    const { payment } = await system.client(PaymentService).payOrder(pay);
    expect(payment?.status).toBe(PaymentStatus.CAPTURED);
    expect((await orderNow(orderId))?.status).toBe(OrderStatus.CONFIRMED);
  });

  it("T12 run out in time when the workers are restarted, and at once when they come back late", async () => {
    await system.product("restarted", 9n);
    const placed = await Promise.all(Array.from({ length: 3 }, () => hold("restarted", 3)));
    await system.stopWorkers();
    await pause(HOLD_MS + 100); // their deadline passes while nobody is there
    await system.startWorkers();
    await expect.poll(() => levelsOf("restarted"), SOON).toEqual({ onHand: 9n, reserved: 0n });
    for (const { id } of placed) expect((await orderNow(id))?.status).toBe(OrderStatus.EXPIRED);
  });
});

describe("a payment that succeeds after its order has expired", () => {
  it("T5 is voided, never captured, and does not revive the order", async () => {
    await system.product("late", 10n);
    const slow = `tok_slow_${PAYMENT_MS + 500}`; // authorised at once, told after the deadline
    const late = `tok_late_${PAYMENT_MS + 500}`; // authorised after the deadline
    const placed = await Promise.all([slow, late].map((token) => hold("late", 2, token)));
    const [first, second] = placed.map(({ id }) => id);
    for (const { id, paymentDeadline } of placed) {
      await expect.poll(async () => (await orderNow(id))?.status, SOON).toBe(OrderStatus.EXPIRED);
      const expired = await orderNow(id);
      expect(expired?.reason?.code).toBe(OrderReasonCode.PAYMENT_DEADLINE);
      expect(paymentDeadline).toBeDefined();
    }
    await expect.poll(() => levelsOf("late"), SOON).toEqual({ onHand: 10n, reserved: 0n });
    await expect.poll(() => effectsOf(second ?? ""), SOON).toEqual(["void approved", "authorize declined"]);
    await expect
      .poll(() => effectsOf(first ?? "").slice(0, 2), SOON)
      .toEqual(["authorize approved", "void approved"]);
    const payments = async (orderId = "") =>
      (await system.client(PaymentService).listPayments({ orderId })).payments[0];
    await expect.poll(async () => (await payments(first))?.status, SOON).toBe(PaymentStatus.VOIDED);
    await pause(200); // room for a capture that must not come
    for (const id of [first ?? "", second ?? ""]) {
      expect(effectsOf(id).filter((effect) => effect.startsWith("capture"))).toEqual([]);
      expect(await payments(id)).toMatchObject({ capturedAmount: EUR(0n), authorizedAmount: EUR(0n) });
      expect((await orderNow(id))?.status).toBe(OrderStatus.EXPIRED);
    }
  });

  it("T5 is never charged before its goods are taken: authorise, then stock, then capture", async () => {
    await system.product("order-of-steps", 1n);
    const { order } = await orders().placeOrder(orderOf("order-of-steps"));
    expect(effectsOf(order?.id ?? "")).toEqual(["authorize approved", "capture approved"]);
    const history = async () => {
      const { entries } = await orders().getOrderHistory({ orderId: order?.id ?? "" });
      return entries.map(({ event }) => event);
    };
    await expect.poll(history, SOON).toEqual(["placed", "held", "confirmed", "captured"]);
  });
});

it("leaves books that agree", async () => {
  const { verdict, checks } = await system.client(OpsService).reconcile({});
  expect(checks.filter((check) => check.verdict !== ReconcileVerdict.CLEAN)).toEqual([]);
  expect(verdict).toBe(ReconcileVerdict.CLEAN);
});
