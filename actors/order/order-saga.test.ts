import { describe, expect, it } from "vitest";
import { OrderStatus, OrderStatusSchema } from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { isFinal, nextStatus, statusName, TRANSITIONS } from "./order-saga.ts";

const USED = Object.values(TRANSITIONS).flatMap((row) => Object.values(row ?? {}));

describe("the transition table", () => {
  it("leads from every status that it reaches to a final one, or to CONFIRMED", () => {
    for (const status of USED) {
      const next = Object.values(TRANSITIONS[status] ?? {});
      expect(isFinal(status) || next.length > 0, statusName(status)).toBe(true);
    }
  });

  it("leaves no final status, whatever happens", () => {
    const final = OrderStatusSchema.values.map(({ number }) => number as OrderStatus).filter(isFinal);
    expect(final.map(statusName)).toEqual(["CANCELLED", "REJECTED", "EXPIRED", "FAILED", "COMPLETED"]);
    expect(final.filter((status) => TRANSITIONS[status] !== undefined)).toEqual([]);
  });

  it("T5 never confirms what has ended or is being undone", () => {
    const { EXPIRED, CANCELLING, COMPENSATING } = OrderStatus;
    for (const status of [EXPIRED, CANCELLING, COMPENSATING])
      expect(nextStatus(status, "authorized")).toBeUndefined();
  });

  it("names statuses as the API does", () => {
    expect(statusName(OrderStatus.AWAITING_PAYMENT)).toBe("AWAITING_PAYMENT");
  });
});
