import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { priceOrder } from "../../actors/order/order-pricing.ts";
import { PlaceOrderSchema } from "../../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { CatalogService } from "../../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import { InventoryService } from "../../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import {
  OrderLineInputSchema,
  OrderService,
  PlaceOrderRequestSchema,
  Wait,
} from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { PaymentService } from "../../proto/gen/tradewind/payment/v1/payment_service_pb.ts";
import { EUR, failureOf, orderOf, paidBy, SOON } from "./calls.ts";
import { startSystem, type System } from "./system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
  await system.product("tea", 100_000n, 500n);
});
afterAll(() => system[Symbol.asyncDispose]());

const orders = () => system.client(OrderService);
const catalog = () => system.client(CatalogService);
const line = { productId: "tea", quantity: 1 };
const price = EUR(100n);

describe("prices", () => {
  it("T13 are the server's: a request has no place for one", async () => {
    const fields = [...OrderLineInputSchema.fields, ...PlaceOrderRequestSchema.fields].map(
      ({ name }) => name,
    );
    expect(fields.filter((name) => /price|tax|discount|amount/.test(name))).toEqual([]);
    const body = JSON.stringify({
      customerId: "ada",
      lines: [{ productId: "tea", quantity: 2, unitPrice: { currencyCode: "EUR", minorUnits: "1" } }],
      wait: "WAIT_HELD",
    });
    const response = await fetch(`${system.url}/tradewind.order.v1.OrderService/PlaceOrder`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    const { order } = (await response.json()) as { order?: { total: { minorUnits: string } } };
    // Unknown fields are refused or have no effect; they never set a price.
    if (response.ok) expect(order?.total.minorUnits).toBe("1000");
    else expect(response.status).toBe(400);
  });

  it("T13 that differ from what the caller expects refuse the order, and hold nothing", async () => {
    await system.product("t13", 5n, 250n, 1_900);
    const request = orderOf("t13", 2);
    const failure = await failureOf(orders().placeOrder({ ...request, expectedTotal: EUR(500n) }));
    expect(failure).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "PRICE_CHANGED",
      metadata: { expected: "500", actual: "595" },
    });
    const dollars = { currencyCode: "USD", minorUnits: 595n };
    expect(await failureOf(orders().placeOrder({ ...request, expectedTotal: dollars }))).toMatchObject({
      reason: "CURRENCY_MISMATCH",
    });
    const { stock } = await system.client(InventoryService).getStock({ productId: "t13" });
    expect(stock).toMatchObject({ onHand: 5n, reserved: 0n, revision: 1n });
    const { order } = await orders().placeOrder({ ...request, expectedTotal: EUR(595n) });
    expect(order?.status).toBe(OrderStatus.CONFIRMED);
  });

  it("T13 stay as they were when the order was placed", async () => {
    await system.product("t13-snap", 5n, 250n);
    const { order } = await orders().placeOrder({ ...orderOf("t13-snap", 1, ""), wait: Wait.HELD });
    await catalog().updateProduct({ productId: "t13-snap", product: { price: EUR(999n), name: "New" } });
    const timeout = { seconds: 5n };
    const pay = { orderId: order?.id ?? "", ...paidBy("tok_ok"), timeout };
    const { payment } = await system.client(PaymentService).payOrder(pay);
    expect(payment?.capturedAmount).toMatchObject(EUR(250n));
    const later = (await orders().getOrder({ orderId: order?.id ?? "" })).order;
    expect(later?.lines[0]).toMatchObject({ name: "t13-snap", unitPrice: EUR(250n) });
  });

  it("are refused of products that are not for sale, and of two currencies", async () => {
    await system.product("gone", 5n);
    await catalog().updateProduct({ productId: "gone", product: { archived: true } });
    expect(await failureOf(orders().placeOrder(orderOf("gone")))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "PRODUCT_ARCHIVED",
    });
    const dollars = { currencyCode: "USD", minorUnits: 1n };
    await catalog().createProduct({ productId: "usd", name: "usd", price: dollars, initialStock: 1n });
    const lines = [line, { productId: "usd", quantity: 1 }];
    expect(await failureOf(orders().placeOrder({ ...orderOf("tea"), lines }))).toMatchObject({
      reason: "CURRENCY_MISMATCH",
    });
  });
});

describe("totals", () => {
  const priced = fc.record({
    productId: fc.constantFrom("a", "b", "c", "d", "e"),
    quantity: fc.integer({ min: 1, max: 1_000_000 }),
  });
  const product = fc.record({
    unitPrice: fc.bigInt({ min: 0n, max: 5_000_000n }),
    taxRateBp: fc.integer({ min: 0, max: 10_000 }),
  });
  const halfUp = (net: bigint, rateBp: number) => {
    const exact = net * BigInt(rateBp);
    return exact / 10_000n + (exact % 10_000n >= 5_000n ? 1n : 0n);
  };

  it("T14 are the sum of the lines and their tax, each product once, the same at every retry", () => {
    fc.assert(
      fc.property(
        fc.array(priced, { minLength: 1, maxLength: 20 }),
        fc.tuple(product, product, product, product, product),
        (wanted, products) => {
          const of = (id: string) => products["abcde".indexOf(id)] ?? expect.fail();
          const lines = wanted.map((each) => ({ ...each, ...of(each.productId), currency: "EUR" }));
          const units = new Map<string, bigint>();
          for (const { productId, quantity } of wanted)
            units.set(productId, (units.get(productId) ?? 0n) + BigInt(quantity));
          let subtotal = 0n;
          let tax = 0n;
          for (const [id, count] of units) {
            subtotal += count * of(id).unitPrice;
            tax += halfUp(count * of(id).unitPrice, of(id).taxRateBp);
          }
          const message = create(PlaceOrderSchema, { lines });
          const order = priceOrder(message);
          expect(order).toMatchObject({ subtotal, tax, total: subtotal + tax });
          expect(order.lines).toHaveLength(units.size);
          expect(priceOrder(message)).toEqual(order);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("T14 are the same through the API, however the lines are split", async () => {
    const numbers = Array.from({ length: 6 }, (_, i) => i);
    const terms = numbers.map((i) => ({ price: BigInt(i * i * 333 + 1), taxRateBp: (i * 700) % 2_600 }));
    await Promise.all(
      terms.map(({ price: minorUnits, taxRateBp }, i) =>
        system.product(`t14-${i}`, 1_000n, minorUnits, taxRateBp),
      ),
    );
    const split = fc.array(fc.record({ i: fc.nat(5), quantity: fc.integer({ min: 1, max: 7 }) }), {
      minLength: 1,
      maxLength: 8,
    });
    for (const wanted of fc.sample(split, { numRuns: 12, seed: 14 })) {
      const lines = wanted.map(({ i, quantity }) => ({ productId: `t14-${i}`, quantity }));
      const { order } = await orders().placeOrder({ ...orderOf("tea"), lines, wait: Wait.ACCEPTED });
      const expected = numbers.map((i) => {
        const units = wanted.filter((each) => each.i === i).reduce((sum, { quantity }) => sum + quantity, 0);
        const net = BigInt(units) * (terms[i]?.price ?? 0n);
        return { net, tax: halfUp(net, terms[i]?.taxRateBp ?? 0) };
      });
      const subtotal = expected.reduce((sum, { net }) => sum + net, 0n);
      const tax = expected.reduce((sum, each) => sum + each.tax, 0n);
      const sums = { subtotal: EUR(subtotal), tax: EUR(tax), total: EUR(subtotal + tax) };
      expect(order).toMatchObject(sums);
      expect((await orders().getOrder({ orderId: order?.id ?? "" })).order).toMatchObject(sums);
    }
  });

  it("T14 too large to be exact are refused", async () => {
    await system.product("huge", 10_000n, 1_000_000_000_000n);
    const failure = await failureOf(orders().placeOrder(orderOf("huge", 10_000)));
    expect(failure).toMatchObject({ code: Code.InvalidArgument, reason: "AMOUNT_OUT_OF_RANGE" });
  });
});

describe("the catalogue", () => {
  it("changes the fields of the mask and no other, and refuses what was read before another change", async () => {
    await catalog().createProduct({
      productId: "mask",
      sku: "MASK-1",
      name: "Old",
      description: "kept",
      price: EUR(5n),
      taxRateBp: 700,
      safetyStock: 2n,
      initialStock: 7n,
    });
    const { product: read } = await catalog().getProduct({ productId: "mask" });
    const etag = read?.etag ?? "";
    const update = { productId: "mask", product: { name: "New" }, updateMask: { paths: ["name"] }, etag };
    const { product } = await catalog().updateProduct(update);
    expect(product).toMatchObject({
      sku: "MASK-1",
      name: "New",
      description: "kept",
      price: EUR(5n),
      taxRateBp: 700,
      safetyStock: 2n,
    });
    const stale = await failureOf(catalog().updateProduct({ ...update, product: { name: "Late" } }));
    expect(stale).toMatchObject({ code: Code.Aborted, reason: "ETAG_MISMATCH" });
    const cleared = {
      productId: "mask",
      product: {},
      updateMask: { paths: ["description", "safety_stock"] },
    };
    const { product: after } = await catalog().updateProduct(cleared);
    expect(after).toMatchObject({ name: "New", description: "", safetyStock: 0n, price: EUR(5n) });
    await expect
      .poll(async () => (await system.client(InventoryService).getStock({ productId: "mask" })).stock, SOON)
      .toMatchObject({ onHand: 7n, safetyStock: 0n, available: 7n });
    const other = { productId: "mask", product: { price: { currencyCode: "USD", minorUnits: 1n } } };
    expect(await failureOf(catalog().updateProduct(other))).toMatchObject({ reason: "CURRENCY_MISMATCH" });
  });

  it("has each id and each sku once", async () => {
    await catalog().createProduct({ productId: "sku-1", sku: "SAME", name: "a", price });
    const id = await failureOf(catalog().createProduct({ productId: "sku-1", name: "b", price }));
    expect(id).toMatchObject({ code: Code.AlreadyExists, reason: "ALREADY_EXISTS" });
    const sku = await failureOf(
      catalog().createProduct({ productId: "sku-2", sku: "SAME", name: "b", price }),
    );
    expect(sku).toMatchObject({
      code: Code.AlreadyExists,
      reason: "SKU_TAKEN",
      metadata: { sku: "SAME", product_id: "sku-1" },
    });
    expect(await failureOf(catalog().getProduct({ productId: "sku-2" }))).toMatchObject({
      code: Code.NotFound,
    });
    const racing = await Promise.allSettled(
      Array.from({ length: 8 }, () => catalog().createProduct({ sku: "RACE", name: "r", price })),
    );
    expect(racing.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  it("hides archived products from the list unless they are asked for", async () => {
    await system.product("hidden", 1n);
    await catalog().updateProduct({ productId: "hidden", product: { archived: true } });
    const ids = async (includeArchived: boolean) =>
      (await catalog().listProducts({ includeArchived, pageSize: 500 })).products.map(({ id }) => id);
    expect(await ids(false)).not.toContain("hidden");
    expect(await ids(true)).toContain("hidden");
  });
});

describe("stock changes", () => {
  it("are refused below what is available unless forced, and held units are not available", async () => {
    await system.product("adj", 5n);
    const adjust = (delta: bigint, force = false) =>
      system.client(InventoryService).adjustStock({ productId: "adj", delta, force, reason: "count" });
    await orders().placeOrder({ ...orderOf("adj", 3, ""), wait: Wait.HELD });
    const failure = await failureOf(adjust(-3n));
    expect(failure).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "INSUFFICIENT_STOCK",
      metadata: { available: "2" },
    });
    expect((await adjust(-2n)).stock).toMatchObject({ onHand: 3n, reserved: 3n, available: 0n, low: true });
    expect((await adjust(-2n, true)).stock).toMatchObject({ onHand: 1n, reserved: 3n, available: -2n });
    expect((await adjust(7n)).stock).toMatchObject({ onHand: 8n, available: 5n, low: false });
    const { stocks } = await system.client(InventoryService).listStock({ lowOnly: true, pageSize: 500 });
    expect(stocks.map(({ productId }) => productId)).not.toContain("adj");
  });
});
