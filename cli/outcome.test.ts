import { create, toJsonString } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { OrderReasonCode, OrderStatus } from "../proto/gen/tradewind/order/v1/order_pb.ts";
import { PlaceOrderResponseSchema } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { outcomeOf, Tally } from "./outcome.ts";

const answer = (status: number, body: string) => ({
  status,
  body,
  isReplayed: false,
  retryAfterMs: 0,
  keepsAlive: true,
});
const placed = (order: object, waitReached = true) => {
  const message = create(PlaceOrderResponseSchema, { order, waitReached });
  return answer(200, toJsonString(PlaceOrderResponseSchema, message, { alwaysEmitImplicit: true }));
};

describe("the outcome of an order", () => {
  it("is the status and reason of the order", () => {
    expect(outcomeOf(placed({ status: OrderStatus.CONFIRMED }))).toMatchObject({
      ok: true,
      status: "CONFIRMED",
      reason: "",
    });
    const reason = { code: OrderReasonCode.PAYMENT_DECLINED, text: "no" };
    expect(outcomeOf(placed({ status: OrderStatus.REJECTED, reason }))).toMatchObject({
      ok: true,
      status: "REJECTED",
      reason: "PAYMENT_DECLINED",
    });
  });

  it("is a failure where the order did not get as far as asked", () => {
    expect(outcomeOf(placed({ status: OrderStatus.PENDING }, false))).toMatchObject({
      ok: false,
      code: "wait_not_reached",
    });
  });

  it("is a failure with code and reason where it was refused", () => {
    const body = {
      code: "resource_exhausted",
      message: "later",
      details: [{ debug: { reason: "OVERLOADED" } }],
    };
    expect(outcomeOf(answer(429, JSON.stringify(body)))).toMatchObject({
      ok: false,
      code: "resource_exhausted OVERLOADED",
      message: "later",
    });
    expect(outcomeOf(answer(502, "<html>"))).toMatchObject({ ok: false, code: "http_502" });
  });
});

describe("a tally", () => {
  it("counts as unknown what may have been accepted, a lost connection as well", () => {
    const tally = new Tally();
    const known = [
      "resource_exhausted OVERLOADED",
      "invalid_argument",
      "not_found",
      "wait_not_reached",
      "http_429",
    ];
    const open = [
      "unavailable",
      "deadline_exceeded",
      "unknown",
      "internal",
      "ECONNRESET",
      "TIMEOUT",
      "http_502",
    ];
    for (const code of [...known, ...open]) tally.add({ ok: false, code, message: "", retryAfterMs: 0 });
    tally.add({ ok: true, status: "CONFIRMED", reason: "", isReplayed: false });
    expect(tally).toMatchObject({ done: 1, failed: known.length + open.length, unknown: open.length });
  });
});
