import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PlaceOrderSchema } from "../../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { priceOrder } from "./order-pricing.ts";

const line = fc.record({
  productId: fc.constantFrom("p1", "p2", "p3", "p4"),
  quantity: fc.integer({ min: 1, max: 10_000 }),
});
const prices = fc.record({
  unitPrice: fc.bigInt({ min: 0n, max: 10_000_000n }),
  taxRateBp: fc.integer({ min: 0, max: 10_000 }),
});

describe("the price of an order", () => {
  it("T14 is the sum of its lines and their tax, however the lines are split and ordered", () => {
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 20 }), prices, fc.nat(), (lines, price, seed) => {
        const priced = lines.map((each) => ({ ...each, ...price, currency: "EUR" }));
        const turned = [...priced.slice(seed % priced.length), ...priced.slice(0, seed % priced.length)];
        const order = priceOrder(create(PlaceOrderSchema, { lines: priced }));
        expect(priceOrder(create(PlaceOrderSchema, { lines: turned }))).toEqual(order);
        const sum = (of: (line: (typeof order.lines)[number]) => bigint | undefined) =>
          order.lines.reduce((total, each) => total + (of(each) ?? 0n), 0n);
        expect(sum(({ lineTotal }) => lineTotal)).toBe(order.subtotal);
        expect(sum(({ tax }) => tax)).toBe(order.tax);
        expect(order.subtotal + order.tax).toBe(order.total);
        const units = priced.reduce((total, { quantity }) => total + BigInt(quantity), 0n);
        expect(order.subtotal).toBe(units * price.unitPrice);
        const ids = order.lines.map(({ productId }) => productId ?? "");
        expect(ids).toEqual([...new Set(ids)].toSorted((a, b) => (a < b ? -1 : 1)));
      }),
    );
  });

  it("T14 counts amounts beyond 2^31 exactly", () => {
    const lines = [
      { productId: "p", quantity: 999_999, unitPrice: 800_000_000n, taxRateBp: 1_900, currency: "JPY" },
    ];
    expect(priceOrder(create(PlaceOrderSchema, { lines }))).toMatchObject({
      subtotal: 799_999_200_000_000n,
      tax: 151_999_848_000_000n,
      total: 951_999_048_000_000n,
    });
  });
});
