import { describe, expect, it } from "vitest";
import { OrderActor } from "../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import {
  LineStock,
  OrderReasonCode,
  OrderStatus,
} from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { PaymentActor } from "../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { PaymentStatus } from "../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import {
  APPROVED,
  line,
  worldWith,
  place,
  orderOf,
  paymentOf,
  stockOf,
  type PlaceInit,
  type World,
} from "./testing.ts";

describe("cancelling", () => {
  it("T10 answers with the new state while stock is being held, and gives a late hold back", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)] });
    const reply = world.request(OrderActor.method.cancel, "o1", { reason: "changed my mind" });
    expect(reply?.order).toMatchObject({
      status: OrderStatus.CANCELLING,
      reason: { text: "changed my mind" },
    });
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.CANCELLED);
    expect(stockOf(world, "a").reserved).toBe(0n);
    expect(world.answer(OrderActor.method.place, "o1")?.order?.status).toBe(OrderStatus.CANCELLED);
  });

  it("T10 answers CANCELLED at once where nothing is open, also again", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)], methodToken: "" });
    world.run();
    expect(world.request(OrderActor.method.cancel, "o1", {})?.order).toMatchObject({
      status: OrderStatus.CANCELLED,
    });
    const { revision } = orderOf(world, "o1");
    expect(world.request(OrderActor.method.cancel, "o1", {})?.order).toMatchObject({
      status: OrderStatus.CANCELLED,
      revision,
    });
  });

  it("voids an authorisation under way at once, and again if it was approved all the same", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)] });
    world.run();
    world.request(OrderActor.method.cancel, "o1", {});
    world.run();
    const [authorization, voiding] = world.calls;
    world.settle(APPROVED, voiding);
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.CANCELLING);
    world.settle(APPROVED, authorization);
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.CANCELLING);
    world.settle(APPROVED);
    world.run();
    expect(orderOf(world, "o1")).toMatchObject({ status: OrderStatus.CANCELLED, captured: 0n });
  });

  it("refunds what was captured and puts the goods back", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 2)] });
    world.run();
    world.settle(APPROVED);
    world.run();
    world.settle(APPROVED);
    world.run();
    expect(world.request(OrderActor.method.cancel, "o1", {})?.order?.status).toBe(OrderStatus.CANCELLING);
    world.run();
    world.settle(APPROVED);
    world.run();
    expect(orderOf(world, "o1")).toMatchObject({
      status: OrderStatus.CANCELLED,
      refunded: 2_380n,
      paymentStatus: PaymentStatus.REFUNDED,
    });
    expect(stockOf(world, "a")).toEqual({ onHand: 5n, reserved: 0n, sold: 2n, returned: 2n });
  });

  it("waits for a capture under way and refunds it", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)] });
    world.run();
    world.settle(APPROVED);
    world.run();
    world.request(OrderActor.method.cancel, "o1", {});
    world.run();
    expect(world.calls).toHaveLength(1);
    world.settle(APPROVED);
    world.run();
    expect(orderOf(world, "o1").status).toBe(OrderStatus.CANCELLING);
    world.settle(APPROVED);
    world.run();
    expect(orderOf(world, "o1")).toMatchObject({
      status: OrderStatus.CANCELLED,
      captured: 1_190n,
      refunded: 1_190n,
    });
  });

  it("T11 refuses a charge that the cancellation has overtaken", () => {
    const world = worldWith({});
    world.deliver(PaymentActor.method.cancel, "o1", {});
    world.deliver(PaymentActor.method.authorize, "o1", { attempt: 1, amount: 100n, currency: "EUR" });
    expect(world.calls).toEqual([]);
    expect(paymentOf(world, "o1")).toMatchObject({ status: PaymentStatus.VOIDED, closed: true });
  });

  it("is refused once the order is final otherwise", () => {
    const world = worldWith({});
    place(world, "o1", { lines: [line("a", 1)] });
    world.run();
    expect(() => world.request(OrderActor.method.cancel, "o1", {})).toThrow(
      expect.objectContaining({
        reason: "INVALID_TRANSITION",
        metadata: { from: "REJECTED", to: "CANCELLING" },
      }),
    );
  });
});

describe("deadlines", () => {
  it("T21, T22 expire a hold that nobody pays or touches", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 3)], methodToken: "" });
    world.run();
    expect(stockOf(world, "a").reserved).toBe(3n);
    world.fire("order", "o1", "deadline"); // that of PENDING: armed again
    expect(orderOf(world, "o1").status).toBe(OrderStatus.AWAITING_PAYMENT);
    world.fire("order", "o1", "deadline");
    world.run();
    expect(orderOf(world, "o1")).toMatchObject({
      status: OrderStatus.EXPIRED,
      reason: { code: OrderReasonCode.HOLD_EXPIRED },
    });
    expect(stockOf(world, "a")).toMatchObject({ onHand: 5n, reserved: 0n });
    expect(world.armed()).toEqual([]);
  });

  it("expire an order that is not paid in time though its hold lasts longer", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)], methodToken: "", settings: { paymentDeadlineMs: 1_000n } });
    world.run();
    expect(world.armed()).toMatchObject([{ name: "deadline", deadlineMs: world.nowMs + 1_000 }]);
    world.fire("order", "o1", "deadline");
    world.run();
    expect(orderOf(world, "o1").reason?.code).toBe(OrderReasonCode.PAYMENT_DEADLINE);
    expect(stockOf(world, "a").reserved).toBe(0n);
  });

  it("expires a PENDING order whose stock does not answer; a late hold goes back", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 1)] });
    world.fire("order", "o1", "deadline");
    expect(orderOf(world, "o1")).toMatchObject({
      status: OrderStatus.EXPIRED,
      reason: { code: OrderReasonCode.PENDING_DEADLINE },
    });
    world.run();
    expect(stockOf(world, "a").reserved).toBe(0n);
    expect(orderOf(world, "o1").lines.map(({ stock }) => stock)).toEqual([LineStock.RELEASED]);
  });

  it("extends the hold while a payment is under way, and T5 voids one that comes after the deadline", () => {
    const world = worldWith({ a: 5n });
    const settings = { reservationTtlMs: 60_000n, paymentDeadlineMs: 120_000n };
    place(world, "o1", { lines: [line("a", 1)], settings });
    world.run();
    const startMs = world.nowMs;
    expect(orderOf(world, "o1").holdExpiresMs).toBe(BigInt(startMs + 120_000));
    world.fire("order", "o1", "deadline");
    expect(orderOf(world, "o1").status).toBe(OrderStatus.AWAITING_PAYMENT);
    world.fire("order", "o1", "deadline");
    world.run();
    expect(orderOf(world, "o1")).toMatchObject({
      status: OrderStatus.EXPIRED,
      reason: { code: OrderReasonCode.PAYMENT_DEADLINE },
    });
    expect(world.answer(OrderActor.method.place, "o1")?.order?.status).toBe(OrderStatus.EXPIRED);
    const [authorization, voiding] = world.calls;
    world.settle(APPROVED, authorization);
    world.run();
    world.settle(APPROVED, voiding);
    world.run();
    expect(world.calls).toEqual([]);
    expect(orderOf(world, "o1").status).toBe(OrderStatus.EXPIRED);
    expect(paymentOf(world, "o1")).toMatchObject({
      status: PaymentStatus.VOIDED,
      captured: 0n,
      closed: true,
    });
  });
});

describe("a request", () => {
  it("T13 takes the server's price and refuses another expected total", () => {
    const world = worldWith({ a: 5n });
    expect(() => place(world, "o1", { lines: [line("a", 1)], expectedTotal: 1_000n })).toThrow(
      expect.objectContaining({
        reason: "PRICE_CHANGED",
        metadata: { expected: "1000", actual: "1190", currency: "EUR" },
      }),
    );
    place(world, "o2", { lines: [line("a", 1)], expectedTotal: 1_190n });
    world.run();
    expect(orderOf(world, "o2").status).toBe(OrderStatus.AWAITING_PAYMENT);
    expect(orderOf(world, "o1").status).toBe(OrderStatus.UNSPECIFIED);
  });

  it("T9 repeats its answer without a second effect", () => {
    const world = worldWith({ a: 5n });
    const lines = [line("a", 1)];
    const first = world.request(OrderActor.method.place, "o1", { lines, customerId: "c1" }, "key-1");
    world.run();
    const again = world.request(OrderActor.method.place, "o1", { lines, customerId: "c1" }, "key-1");
    world.run();
    expect(again).toEqual(first);
    expect(stockOf(world, "a").reserved).toBe(1n);
    expect(() => world.request(OrderActor.method.place, "o1", { lines, customerId: "c2" }, "key-2")).toThrow(
      expect.objectContaining({ reason: "ALREADY_EXISTS" }),
    );
  });

  it("refuses currencies that meet, empty orders and amounts beyond the exact range", () => {
    const world = worldWith({});
    const refusal = (message: PlaceInit) => {
      try {
        place(world, "o9", message);
        return "accepted";
      } catch (error) {
        return (error as { reason: string }).reason;
      }
    };
    expect(refusal({ lines: [line("a", 1), { ...line("b", 1), currency: "USD" }] })).toBe(
      "CURRENCY_MISMATCH",
    );
    expect(refusal({ lines: [] })).toBe("VALIDATION");
    expect(refusal({ lines: [line("a", 0)] })).toBe("VALIDATION");
    expect(refusal({ lines: [line("a", 1_000_000, 1_000_000_000_000n)] })).toBe("AMOUNT_OUT_OF_RANGE");
  });
});

describe("a refund", () => {
  function captured(): World {
    const world = worldWith({ a: 5n, b: 5n, c: 5n });
    place(world, "o1", { lines: [line("a", 1, 333n), line("b", 1, 333n), line("c", 1, 334n)] });
    world.run();
    world.settle(APPROVED);
    world.run();
    world.settle(APPROVED);
    world.run();
    return world;
  }

  it("is spread over the lines and adds up with the next one", () => {
    const world = captured();
    const { total } = orderOf(world, "o1");
    const reply = world.request(PaymentActor.method.refund, "o1", {
      amount: 100n,
      currency: "EUR",
      reason: "scratched",
    });
    expect(reply?.refund).toMatchObject({ amount: 100n, compensating: false });
    world.settle(APPROVED);
    world.run();
    expect(paymentOf(world, "o1")).toMatchObject({
      status: PaymentStatus.PARTIALLY_REFUNDED,
      refunded: 100n,
      refunding: 0n,
    });
    expect(orderOf(world, "o1").lines.reduce((sum, { refundedGross }) => sum + refundedGross, 0n)).toBe(100n);
    world.request(PaymentActor.method.refund, "o1", {});
    world.settle(APPROVED);
    world.run();
    const order = orderOf(world, "o1");
    expect(order.refunded).toBe(total);
    expect(order.lines.map(({ refundedNet }) => refundedNet)).toEqual([333n, 333n, 334n]);
    expect(() => world.request(PaymentActor.method.refund, "o1", { amount: 1n })).toThrow(
      expect.objectContaining({
        reason: "REFUND_EXCEEDS_CAPTURED",
        metadata: { refundable: "0", currency: "EUR" },
      }),
    );
  });

  it("that the provider declines gives its amount free again", () => {
    const world = captured();
    world.request(PaymentActor.method.refund, "o1", { amount: 100n });
    world.settle({ approved: false, code: "refund_declined" });
    world.run();
    expect(paymentOf(world, "o1")).toMatchObject({
      status: PaymentStatus.CAPTURED,
      refunding: 0n,
      refunded: 0n,
    });
  });

  it("is refused in another currency and beyond what is captured, pending refunds counted", () => {
    const world = captured();
    const { total } = orderOf(world, "o1");
    expect(() => world.request(PaymentActor.method.refund, "o1", { currency: "USD" })).toThrow(
      expect.objectContaining({ reason: "CURRENCY_MISMATCH" }),
    );
    world.request(PaymentActor.method.refund, "o1", { amount: total });
    expect(() => world.request(PaymentActor.method.refund, "o1", { amount: 1n })).toThrow(
      expect.objectContaining({ reason: "REFUND_EXCEEDS_CAPTURED" }),
    );
  });
});
