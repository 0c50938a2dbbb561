import { fromJsonString } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../platform/random.ts";
import { PlaceOrderRequestSchema, Wait } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { nextOrder, orderJson } from "./order-mix.ts";
import { planOf, type SeedOptions } from "./seed.ts";

const mix = {
  products: ["p-1", "p-2", "p-3"],
  customerPrefix: "c-",
  customers: { min: 5, max: 9 },
  lines: { min: 1, max: 3 },
  quantity: { min: 2, max: 4 },
  declinedShare: 0.1,
  wait: "settled",
} as const;

const options: SeedOptions = {
  count: 200,
  url: "http://localhost:8080",
  minUser: 1,
  maxUser: 1_000,
  minProduct: 1,
  maxProduct: 100,
  minQuantity: 1,
  maxQuantity: 10,
  verbose: false,
  rate: 0,
  concurrency: 16,
  seed: 1,
  preset: undefined,
  declined: 0,
  wait: "settled",
  json: false,
};

describe("orders of a generator", () => {
  it("are requests of the API within the bounds", () => {
    const random = seededRandom(1);
    const orders = Array.from({ length: 500 }, () => nextOrder(mix, random));
    for (const order of orders) {
      const request = fromJsonString(PlaceOrderRequestSchema, orderJson(order, "settled"));
      expect(request.wait).toBe(Wait.SETTLED);
      expect(Number(request.customerId.slice(2))).toBeGreaterThanOrEqual(5);
      expect(Number(request.customerId.slice(2))).toBeLessThanOrEqual(9);
      expect(new Set(request.lines.map(({ productId }) => productId)).size).toBe(request.lines.length);
      for (const { quantity } of request.lines) expect([2, 3, 4]).toContain(quantity);
    }
    const declined = orders.filter(({ methodToken }) => methodToken === "tok_decline").length;
    expect(declined).toBeGreaterThan(25);
    expect(declined).toBeLessThan(90);
  });

  it("are the same for the same seed and flags, under the same keys", () => {
    expect(planOf(options, 7)).toEqual(planOf(options, 7));
    expect(planOf(options, 7).orders).not.toEqual(planOf(options, 8).orders);
    expect(planOf({ ...options, maxUser: 5 }, 7).key).not.toBe(planOf(options, 7).key);
  });

  it("have as much stock as they order", () => {
    const { products, orders } = planOf(options, 7);
    const ordered = orders.flatMap(({ lines }) => lines).reduce((sum, { quantity }) => sum + quantity, 0);
    expect(products.reduce((sum, { units }) => sum + units, 0)).toBe(ordered);
  });

  it("refuses bounds the wrong way round", () => {
    expect(() => planOf({ ...options, minUser: 9, maxUser: 3 }, 1)).toThrow(
      "--min-user 9 is above --max-user 3",
    );
  });

  it("presets: 6 customers, 2 products and 10 sales", () => {
    const { orders, products } = planOf({ ...options, preset: "sales" }, 1);
    expect(orders).toHaveLength(10);
    expect(products).toHaveLength(2);
    expect(new Set(orders.map(({ customerId }) => customerId)).size).toBe(6);
  });
});
