import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InventoryService } from "../../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { OpsService, ReconcileVerdict } from "../../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import {
  type Order,
  OrderReasonCode,
  OrderStatus,
  OrderStatusSchema,
} from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import { OrderService, Wait } from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import {
  type Payment,
  PaymentStatus,
  RefundStatus,
} from "../../proto/gen/tradewind/payment/v1/payment_pb.ts";
import { PaymentService } from "../../proto/gen/tradewind/payment/v1/payment_service_pb.ts";
import { EUR, failureOf, orderOf, paidBy, SOON, until } from "./calls.ts";
import { startSystem, type System } from "./system.ts";

const SECONDS = { seconds: 10n };
let system: System;
beforeAll(async () => {
  system = await startSystem();
  await system.product("tea", 100_000n);
});
afterAll(() => system[Symbol.asyncDispose]());

const orders = () => system.client(OrderService);
const payments = () => system.client(PaymentService);

async function place(token: string, wait: Wait = Wait.SETTLED, productId = "tea"): Promise<Order> {
  const { order } = await orders().placeOrder({ ...orderOf(productId, 1, token), wait });
  return order ?? expect.fail("no order");
}

async function orderNow(orderId: string): Promise<Order> {
  return (await orders().getOrder({ orderId })).order ?? expect.fail("no order");
}

async function paymentOf(orderId: string): Promise<Payment> {
  return (await payments().listPayments({ orderId })).payments[0] ?? expect.fail("no payment");
}

/** What took effect at the provider for an order, as `operation status`. */
const effectsOf = (orderId: string) =>
  system.psp.simulator
    .ledger()
    .filter(({ authorizationKey }) => authorizationKey.startsWith(`${orderId}:`))
    .map(({ operation, status }) => `${operation} ${status}`);

/** An order whose authorisation took effect at the provider, which has not answered yet. */
async function inFlight(token: string): Promise<Order> {
  const order = await place(token, Wait.HELD);
  if (token.startsWith("tok_slow")) await until(() => effectsOf(order.id).length > 0);
  return order;
}

const nameOf = (status: OrderStatus) => OrderStatusSchema.value[status]?.localName;

async function expectStatus(orderId: string, status: OrderStatus): Promise<Order> {
  await expect.poll(async () => nameOf((await orderNow(orderId)).status), SOON).toBe(nameOf(status));
  return orderNow(orderId);
}

describe("cancelling", () => {
  it("T10 answers with the new state and its revision, and the same when it is repeated", async () => {
    const before = await place("", Wait.HELD);
    const cancel = { orderId: before.id, reason: "changed my mind", requestId: "t10" };
    const { order } = await orders().cancelOrder(cancel);
    expect([OrderStatus.CANCELLING, OrderStatus.CANCELLED]).toContain(order?.status);
    expect(order?.revision).toBeGreaterThan(before.revision);
    expect(order?.etag).not.toBe(before.etag);
    expect(order?.reason).toMatchObject({ code: OrderReasonCode.CANCEL_REQUESTED, text: "changed my mind" });
    expect((await orders().cancelOrder(cancel)).order).toEqual(order);
    await expectStatus(before.id, OrderStatus.CANCELLED);
    expect((await orders().cancelOrder({ orderId: before.id })).order?.status).toBe(OrderStatus.CANCELLED);
  });

  it("T11 refuses the charge when the cancellation overtakes it at the provider", async () => {
    const order = await inFlight("tok_late_600"); // its authorisation arrives there in 600 ms
    const { order: cancelled } = await orders().cancelOrder({ orderId: order.id });
    expect(cancelled?.status).toBe(OrderStatus.CANCELLING);
    await expectStatus(order.id, OrderStatus.CANCELLED);
    await expect.poll(() => effectsOf(order.id), SOON).toEqual(["void approved", "authorize declined"]);
    const payment = await paymentOf(order.id);
    expect(payment).toMatchObject({ capturedAmount: EUR(0n), authorizedAmount: EUR(0n) });
    expect([PaymentStatus.VOIDED, PaymentStatus.DECLINED]).toContain(payment.status);
  });

  it("T11 voids what was authorised while the cancellation was on its way, and never captures", async () => {
    const order = await inFlight("tok_slow_600"); // authorised there, the answer comes in 600 ms
    await orders().cancelOrder({ orderId: order.id });
    await expectStatus(order.id, OrderStatus.CANCELLED);
    const effects = effectsOf(order.id);
    expect(effects.slice(0, 2)).toEqual(["authorize approved", "void approved"]);
    expect(effects.filter((effect) => effect.startsWith("capture"))).toEqual([]);
    expect(await paymentOf(order.id)).toMatchObject({
      status: PaymentStatus.VOIDED,
      capturedAmount: EUR(0n),
    });
  });

  it("gives goods and money of a confirmed order back, once", async () => {
    await system.product("back", 5n, 700n);
    const order = await place("tok_ok", Wait.SETTLED, "back");
    expect(order.status).toBe(OrderStatus.CONFIRMED);
    const both = await Promise.all([1, 2].map(() => orders().cancelOrder({ orderId: order.id })));
    for (const { order: answer } of both)
      expect([OrderStatus.CANCELLING, OrderStatus.CANCELLED]).toContain(answer?.status);
    await expectStatus(order.id, OrderStatus.CANCELLED);
    expect(effectsOf(order.id)).toEqual(["authorize approved", "capture approved", "refund approved"]);
    const stock = async () => (await system.client(InventoryService).getStock({ productId: "back" })).stock;
    await expect.poll(stock, SOON).toMatchObject({ onHand: 5n, reserved: 0n });
    expect(await paymentOf(order.id)).toMatchObject({
      status: PaymentStatus.REFUNDED,
      refundedAmount: EUR(700n),
    });
  });

  it("pays back a charge that is on its way when the order is cancelled", async () => {
    const order = await place("tok_capture_slow_500", Wait.HELD);
    await until(() => effectsOf(order.id).includes("capture approved"));
    await orders().cancelOrder({ orderId: order.id });
    await expectStatus(order.id, OrderStatus.CANCELLED);
    expect(effectsOf(order.id)).toEqual(["authorize approved", "capture approved", "refund approved"]);
  });

  it.each([
    ["tok_decline", OrderStatus.REJECTED],
    ["tok_capture_decline", OrderStatus.FAILED],
  ])("refuses an order that %s has ended as final, and changes nothing", async (token, status) => {
    const order = await place(token);
    expect(order.status).toBe(status);
    const failure = await failureOf(orders().cancelOrder({ orderId: order.id }));
    expect(failure).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "INVALID_TRANSITION",
      metadata: { from: nameOf(status), to: "CANCELLING" },
    });
    expect((await orderNow(order.id)).revision).toBe(order.revision);
  });

  it("finds a cancelled order in every state of its payment with nothing charged", async () => {
    const tokens = [
      "",
      "tok_slow_100",
      "tok_late_100",
      "tok_flaky",
      "tok_ok",
      "tok_garbage",
      "tok_capture_slow_100",
    ];
    const placed = await Promise.all(
      Array.from({ length: 35 }, (_, i) => place(tokens[i % tokens.length] ?? "", Wait.ACCEPTED)),
    );
    await Promise.all(placed.map(({ id: orderId }) => orders().cancelOrder({ orderId })));
    await Promise.all(placed.map(({ id }) => expectStatus(id, OrderStatus.CANCELLED)));
    const entries = system.psp.simulator.ledger().filter(({ status }) => status === "approved");
    for (const { id } of placed) {
      const sumOf = (wanted: string) =>
        entries
          .filter(({ operation, authorizationKey: key }) => operation === wanted && key.startsWith(`${id}:`))
          .reduce((sum, { amount }) => sum + BigInt(amount), 0n);
      expect(sumOf("capture")).toBe(sumOf("refund"));
    }
  });
});

describe("paying", () => {
  it("takes another attempt after a decline until one succeeds", async () => {
    const { id: orderId } = await place("", Wait.HELD);
    for (const [number, token] of ["tok_decline", "tok_decline_insufficient_funds"].entries()) {
      const { payment } = await payments().payOrder({ orderId, ...paidBy(token), timeout: SECONDS });
      expect(payment?.status).toBe(PaymentStatus.DECLINED);
      expect(payment?.attempts).toHaveLength(number + 1);
    }
    const waiting = await orderNow(orderId);
    expect(waiting).toMatchObject({
      status: OrderStatus.AWAITING_PAYMENT,
      reason: { code: OrderReasonCode.PAYMENT_DECLINED },
    });
    const { payment } = await payments().payOrder({ orderId, ...paidBy("tok_ok"), timeout: SECONDS });
    expect(payment).toMatchObject({ status: PaymentStatus.CAPTURED, capturedAmount: EUR(1_000n) });
    const codes = payment?.attempts.map(({ failureCode }) => failureCode);
    expect(codes).toEqual(["card_declined", "insufficient_funds", ""]);
    expect(await orderNow(orderId)).toMatchObject({ status: OrderStatus.CONFIRMED });
    expect((await orderNow(orderId)).reason).toBeUndefined();
  });

  it("ends with the last attempt that was allowed", async () => {
    const { id: orderId } = await place("", Wait.HELD);
    for (let attempt = 1; attempt <= 5; attempt++)
      await payments().payOrder({ orderId, ...paidBy("tok_decline"), timeout: SECONDS });
    expect(await orderNow(orderId)).toMatchObject({
      status: OrderStatus.REJECTED,
      reason: { code: OrderReasonCode.PAYMENT_DECLINED },
    });
    const failure = await failureOf(payments().payOrder({ orderId, ...paidBy("tok_ok") }));
    expect(failure).toMatchObject({ reason: "INVALID_TRANSITION", metadata: { from: "REJECTED" } });
  });

  it("is refused while an attempt is in flight, and charges once", async () => {
    const { id: orderId } = await place("", Wait.HELD);
    const { payment } = await payments().payOrder({ orderId, ...paidBy("tok_slow_400") });
    expect(payment?.status).toBe(PaymentStatus.AUTHORIZING);
    const failure = await failureOf(payments().payOrder({ orderId, ...paidBy("tok_ok") }));
    expect(failure).toMatchObject({ code: Code.FailedPrecondition, reason: "PAYMENT_IN_PROGRESS" });
    await expectStatus(orderId, OrderStatus.CONFIRMED);
    await expect.poll(() => effectsOf(orderId), SOON).toEqual(["authorize approved", "capture approved"]);
    const late = await failureOf(payments().payOrder({ orderId, ...paidBy("tok_ok") }));
    expect(late).toMatchObject({ reason: "INVALID_TRANSITION", metadata: { from: "CONFIRMED" } });
  });

  it("is not wanted while stock is not held yet, nor by an order that was paid", async () => {
    const order = await place("tok_ok");
    const failure = await failureOf(payments().payOrder({ orderId: order.id, ...paidBy("tok_ok") }));
    expect(failure).toMatchObject({ reason: "INVALID_TRANSITION", metadata: { to: "CONFIRMED" } });
  });

  it("charges once although the provider fails, is out of reach, answers rubbish or not at all", async () => {
    const tokens = ["tok_flaky_2", "tok_unreachable_1", "tok_garbage", "tok_timeout_1"];
    const placed = await Promise.all(tokens.map((token) => place(token)));
    for (const order of placed) {
      expect(order).toMatchObject({ status: OrderStatus.CONFIRMED, paymentStatus: PaymentStatus.CAPTURED });
      expect(effectsOf(order.id)).toEqual(["authorize approved", "capture approved"]);
    }
  });
});

describe("refunds", () => {
  it("pay back in parts up to what was captured, each once", async () => {
    const order = await place("tok_ok");
    const paymentId = order.paymentIds[0] ?? "";
    const part = { paymentId, amount: EUR(300n), reason: "scratched", requestId: "part" };
    const [first, again] = await Promise.all([1, 2].map(() => payments().refundPayment(part)));
    expect(again?.refund?.id).toBe(first?.refund?.id);
    expect(first?.payment).toMatchObject({ refundedAmount: EUR(300n) });
    const over = await failureOf(payments().refundPayment({ paymentId, amount: EUR(701n) }));
    expect(over).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "REFUND_EXCEEDS_CAPTURED",
      metadata: { refundable: "700" },
    });
    const foreign = { currencyCode: "USD", minorUnits: 1n };
    expect(await failureOf(payments().refundPayment({ paymentId, amount: foreign }))).toMatchObject({
      reason: "CURRENCY_MISMATCH",
    });
    const rest = await payments().refundPayment({ paymentId });
    expect(rest.refund?.amount).toMatchObject(EUR(700n));
    const payment = async () => (await payments().getPayment({ paymentId })).payment;
    await expect.poll(payment, SOON).toMatchObject({
      status: PaymentStatus.REFUNDED,
      refunds: [
        { amount: EUR(300n), status: RefundStatus.SUCCEEDED, reason: "scratched" },
        { amount: EUR(700n), status: RefundStatus.SUCCEEDED },
      ],
    });
    expect(await failureOf(payments().refundPayment({ paymentId }))).toMatchObject({
      metadata: { refundable: "0" },
    });
    expect(effectsOf(order.id).filter((effect) => effect === "refund approved")).toHaveLength(2);
  });

  it("never exceed the capture, however many race for it", async () => {
    const order = await place("tok_ok");
    const paymentId = order.paymentIds[0] ?? "";
    const results = await Promise.allSettled(
      Array.from({ length: 12 }, () => payments().refundPayment({ paymentId, amount: EUR(150n) })),
    );
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(6);
  });

  it("of an order that was not charged are refused", async () => {
    const declined = await place("tok_decline");
    const failure = await failureOf(payments().refundPayment({ paymentId: declined.paymentIds[0] ?? "" }));
    expect(failure).toMatchObject({ reason: "REFUND_EXCEEDS_CAPTURED", metadata: { refundable: "0" } });
  });

  it("are tried again until the provider can be reached", async () => {
    const order = await place("tok_refund_unreachable_2");
    const { refund } = await payments().refundPayment({ paymentId: order.paymentIds[0] ?? "" });
    expect(refund?.status).toBe(RefundStatus.PENDING);
    const status = async () => (await paymentOf(order.id)).refunds[0]?.status;
    await expect.poll(status, SOON).toBe(RefundStatus.SUCCEEDED);
  });
});

it("leaves books that agree, and a provider that agrees with them", async () => {
  const { verdict, checks } = await system.client(OpsService).reconcile({});
  expect(checks.filter((check) => check.verdict !== ReconcileVerdict.CLEAN)).toEqual([]);
  expect(verdict).toBe(ReconcileVerdict.CLEAN);
  const keys = system.psp.simulator.ledger().map(({ key }) => key);
  expect(new Set(keys).size).toBe(keys.length);
});
