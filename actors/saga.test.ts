import { describe, expect, it } from "vitest";
import { OrderActor } from "../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { OrderReasonCode, OrderStatus, Wait } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { ProviderOperation } from "../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { PaymentStatus } from "../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import { APPROVED, DECLINED, line, worldWith, place, orderOf, paymentOf, stockOf } from "./testing.ts";

describe("the order saga", () => {
  it("holds, authorises, commits and captures, in this order", () => {
    const world = worldWith({ a: 5n, b: 5n });
    place(world, "o1", { lines: [line("b", 2), line("a", 1)] });
    world.run();
    expect(stockOf(world, "a")).toMatchObject({ onHand: 5n, reserved: 1n });
    expect(orderOf(world, "o1")).toMatchObject({ status: OrderStatus.AWAITING_PAYMENT, total: 3_570n });
    expect(world.calls.map(({ call }) => [call.operation, call.key])).toEqual([
      [ProviderOperation.AUTHORIZE, "o1:1"],
    ]);
    world.settle(APPROVED);
    world.run();
    expect(stockOf(world, "b")).toMatchObject({ onHand: 3n, reserved: 0n, sold: 2n });
    expect(world.calls.map(({ call }) => call.key)).toEqual(["o1:1:capture"]);
    expect(world.answer(OrderActor.method.place, "o1")).toBeUndefined();
    world.settle(APPROVED);
    world.run();
    expect(world.answer(OrderActor.method.place, "o1")?.order).toMatchObject({
      status: OrderStatus.CONFIRMED,
      paymentStatus: PaymentStatus.CAPTURED,
      captured: 3_570n,
    });
    expect(world.eventTypes("o1")).toEqual(["OrderPlaced", "OrderHeld", "OrderConfirmed", "OrderCaptured"]);
    expect(world.armed()).toEqual([]);
  });

  it("answers ACCEPTED at once and HELD when stock is held", () => {
    const world = worldWith({ a: 5n });
    const accepted = world.request(OrderActor.method.place, "o1", {
      customerId: "c1",
      lines: [line("a", 1)],
    });
    expect(accepted?.order?.status).toBe(OrderStatus.PENDING);
    place(world, "o2", { lines: [line("a", 1)], wait: Wait.HELD });
    world.run();
    expect(world.answer(OrderActor.method.place, "o2")?.order?.status).toBe(OrderStatus.AWAITING_PAYMENT);
    expect(orderOf(world, "o1")).toMatchObject({
      status: OrderStatus.AWAITING_PAYMENT,
      paymentStatus: PaymentStatus.UNSPECIFIED,
    });
  });

  it("T1 sells one unit to one of many buyers, and T24 fails nobody at random", () => {
    const world = worldWith({ a: 1n });
    const ids = Array.from({ length: 40 }, (_, index) => `o${index}`);
    for (const id of ids) place(world, id, { lines: [line("a", 1)] });
    world.run((count) => count * 7 + 3);
    while (world.calls.length > 0) {
      world.settle(APPROVED);
      world.run();
    }
    const statuses = ids.map((id) => orderOf(world, id).status);
    expect(statuses.filter((status) => status === OrderStatus.CONFIRMED)).toHaveLength(1);
    expect(statuses.filter((status) => status === OrderStatus.REJECTED)).toHaveLength(39);
    expect(stockOf(world, "a")).toEqual({ onHand: 0n, reserved: 0n, sold: 1n, returned: 0n });
  });

  it("T2 adds up the lines of one product before it holds them", () => {
    const world = worldWith({ a: 3n });
    place(world, "o1", { lines: [line("a", 2), line("a", 2)] });
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.REJECTED);
    expect(orderOf(world, "o1").reason?.shortages).toMatchObject([
      { productId: "a", requested: 4, available: 3n },
    ]);
  });

  it("T3 gives back the lines before a refused one, once", () => {
    const world = worldWith({ a: 5n, b: 0n, c: 5n });
    place(world, "o1", { lines: [line("c", 1), line("b", 1), line("a", 2)] });
    world.run();
    expect(orderOf(world, "o1")).toMatchObject({
      status: OrderStatus.REJECTED,
      reason: { code: OrderReasonCode.OUT_OF_STOCK },
    });
    expect(["a", "b", "c"].map((id) => stockOf(world, id).reserved)).toEqual([0n, 0n, 0n]);
    expect(world.calls).toEqual([]);
  });

  it("T15 rejects an order of which nothing is available, or not even known", () => {
    const world = worldWith({ a: 0n });
    place(world, "o1", { lines: [line("a", 1)] });
    place(world, "o2", { lines: [line("nosuch", 1)] });
    world.run();
    expect(["o1", "o2"].map((id) => orderOf(world, id).status)).toEqual([
      OrderStatus.REJECTED,
      OrderStatus.REJECTED,
    ]);
  });

  it("lets one of two orders with crossed lines win, never neither", () => {
    for (const seed of [0, 1, 2, 3, 5, 8]) {
      const world = worldWith({ p1: 1n, p2: 1n });
      place(world, "o1", { lines: [line("p1", 1), line("p2", 1)] });
      place(world, "o2", { lines: [line("p2", 1), line("p1", 1)] });
      let turn = seed;
      world.run((count) => (turn = turn * 5 + 3) % count);
      const statuses = ["o1", "o2"].map((id) => orderOf(world, id).status);
      expect(statuses.toSorted((a, b) => a - b)).toEqual([
        OrderStatus.AWAITING_PAYMENT,
        OrderStatus.REJECTED,
      ]);
    }
  });

  it("holds a hundred lines in segments below the causal depth", () => {
    const ids = Array.from({ length: 100 }, (_, index) => `p${String(index).padStart(3, "0")}`);
    const world = worldWith(Object.fromEntries(ids.map((id) => [id, 1n])));
    place(world, "o1", { lines: ids.map((id) => line(id, 1)) });
    for (let round = 0; round < 3; round++) {
      world.run();
      if (orderOf(world, "o1").status === OrderStatus.PENDING) world.fire("order", "o1", "hold");
    }
    world.settle(APPROVED);
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.CONFIRMED);
    expect(ids.every((id) => stockOf(world, id).onHand === 0n)).toBe(true);
  });

  it("confirms an order that costs nothing without a payment", () => {
    const world = worldWith({ a: 1n });
    place(world, "o1", { lines: [line("a", 1, 0n)] });
    world.run();
    expect(world.answer(OrderActor.method.place, "o1")?.order?.status).toBe(OrderStatus.CONFIRMED);
    expect(world.eventTypes("o1")).toEqual(["OrderPlaced", "OrderConfirmed", "OrderCaptured"]);
    world.request(OrderActor.method.cancel, "o1", {});
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.CANCELLED);
    expect(stockOf(world, "a")).toEqual({ onHand: 1n, reserved: 0n, sold: 1n, returned: 1n });
  });
});

describe("a decline", () => {
  it("rejects an order that brought its payment and gives the stock back", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 2)] });
    world.run();
    world.settle(DECLINED);
    world.run();
    expect(world.answer(OrderActor.method.place, "o1")?.order).toMatchObject({
      status: OrderStatus.REJECTED,
      paymentStatus: PaymentStatus.DECLINED,
      reason: { code: OrderReasonCode.PAYMENT_DECLINED },
    });
    expect(stockOf(world, "a")).toMatchObject({ onHand: 5n, reserved: 0n });
    expect(world.armed()).toEqual([]);
  });

  it("leaves further attempts until the last one or the deadline", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)], methodToken: "", settings: { paymentAttemptsMax: 2 } });
    world.run();
    expect(world.answer(OrderActor.method.place, "o1")?.order?.status).toBe(OrderStatus.AWAITING_PAYMENT);
    world.request(OrderActor.method.pay, "o1", { methodToken: "tok_declined", wait: true });
    expect(() => world.request(OrderActor.method.pay, "o1", {})).toThrow(
      expect.objectContaining({ reason: "PAYMENT_IN_PROGRESS" }),
    );
    world.run();
    world.settle(DECLINED);
    world.run();
    expect(world.answer(OrderActor.method.pay, "o1")?.order?.status).toBe(OrderStatus.AWAITING_PAYMENT);
    world.request(OrderActor.method.pay, "o1", { methodToken: "tok_ok", wait: true });
    world.run();
    expect(world.calls.map(({ call }) => call.key)).toEqual(["o1:2"]);
    world.settle(APPROVED);
    world.run();
    world.settle(APPROVED);
    world.run();
    expect(world.answer(OrderActor.method.pay, "o1")?.order).toMatchObject({
      status: OrderStatus.CONFIRMED,
      captured: 1_190n,
    });
    expect(orderOf(world, "o1").reason).toBeUndefined();
  });

  it("after the last attempt is final", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)], methodToken: "", settings: { paymentAttemptsMax: 1 } });
    world.run();
    world.request(OrderActor.method.pay, "o1", { methodToken: "tok_declined" });
    world.run();
    world.settle(DECLINED);
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.REJECTED);
    expect(() => world.request(OrderActor.method.pay, "o1", {})).toThrow(
      expect.objectContaining({
        reason: "INVALID_TRANSITION",
        metadata: { from: "REJECTED", to: "CONFIRMED" },
      }),
    );
  });
});

describe("a provider without an answer", () => {
  it("fails the order, voids what may have been authorised and gives the stock back", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)] });
    world.run();
    world.settle("gave_up");
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.COMPENSATING);
    expect(stockOf(world, "a").reserved).toBe(0n);
    expect(() => world.request(OrderActor.method.pay, "o1", {})).toThrow(
      expect.objectContaining({ reason: "PAYMENT_IN_PROGRESS" }),
    );
    const voiding = world.calls.find(({ call }) => call.operation === ProviderOperation.VOID);
    expect(voiding?.call).toMatchObject({ authorizationKey: "o1:1", compensating: true });
    world.settle(APPROVED, voiding);
    world.run();
    expect(world.answer(OrderActor.method.place, "o1")?.order).toMatchObject({
      status: OrderStatus.FAILED,
      reason: { code: OrderReasonCode.PAYMENT_UNAVAILABLE },
    });
    expect(paymentOf(world, "o1").status).toBe(PaymentStatus.VOIDED);
  });

  it("T5 voids an authorisation that turns up after the order failed, and never charges it", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)] });
    world.run();
    const [authorization] = world.calls;
    world.settle("gave_up");
    world.run();
    world.settle(APPROVED, world.calls[1]);
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.FAILED);
    world.settle(APPROVED, authorization);
    world.run();
    expect(world.calls.map(({ call }) => call.operation)).toEqual([ProviderOperation.VOID]);
    world.settle(APPROVED);
    world.run();
    expect(paymentOf(world, "o1")).toMatchObject({
      status: PaymentStatus.VOIDED,
      captured: 0n,
      closed: true,
    });
    expect(orderOf(world, "o1").status).toBe(OrderStatus.FAILED);
  });

  it("refunds a capture that was given up and did happen", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)] });
    world.run();
    world.settle(APPROVED);
    world.run();
    const [capture] = world.calls;
    world.settle("gave_up", capture);
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.COMPENSATING);
    expect(stockOf(world, "a")).toEqual({ onHand: 5n, reserved: 0n, sold: 1n, returned: 1n });
    world.settle({ approved: false, code: "already_captured" }, world.calls[1]);
    world.run();
    const refund = world.calls.find(({ call }) => call.operation === ProviderOperation.REFUND);
    expect(refund?.call).toMatchObject({ amount: 1_190n, compensating: true });
    world.settle(APPROVED, capture); // late: nothing more is refunded
    world.settle(APPROVED, refund);
    world.run();
    expect(world.calls).toEqual([]);
    expect(orderOf(world, "o1")).toMatchObject({
      status: OrderStatus.FAILED,
      captured: 1_190n,
      refunded: 1_190n,
    });
    expect(paymentOf(world, "o1")).toMatchObject({
      status: PaymentStatus.REFUNDED,
      captured: 1_190n,
      refunded: 1_190n,
    });
    expect(world.eventTypes("o1").slice(3)).toEqual([
      "OrderCompensating",
      "OrderCaptured",
      "OrderReturned",
      "OrderRefunded",
      "OrderFailed",
    ]);
  });

  it("undoes an order whose capture is declined", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)] });
    world.run();
    world.settle(APPROVED);
    world.run();
    world.settle(DECLINED);
    world.run();
    world.settle(APPROVED);
    world.run();
    expect(orderOf(world, "o1")).toMatchObject({
      status: OrderStatus.FAILED,
      reason: { code: OrderReasonCode.PAYMENT_DECLINED },
      captured: 0n,
    });
    expect(stockOf(world, "a").onHand).toBe(5n);
  });
});
