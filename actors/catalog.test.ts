import { describe, expect, it } from "vitest";
import {
  AdjustmentActor,
  AdjustmentStatus,
} from "../proto/gen/tradewind/actors/adjustment/v1/adjustment_actor_pb.ts";
import {
  ProductActor,
  ProductStateSchema,
  ProductStatus,
} from "../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import { TenantActor } from "../proto/gen/tradewind/actors/tenant/v1/tenant_actor_pb.ts";
import { ACTORS } from "./kinds.ts";
import { DEFAULT_SETTINGS } from "./shared/settings.ts";
import { line, place, stockOf, World, worldWith } from "./testing.ts";

const TEA = {
  sku: "TEA",
  name: "tea",
  price: 500n,
  currency: "EUR",
  taxRateBp: 700,
  initialOnHand: 3n,
  safetyStock: 1n,
};

function create(world: World, key: string, product = TEA) {
  world.request(ProductActor.method.create, key, product);
  world.run();
  return world.answer(ProductActor.method.create, key);
}

describe("a product", () => {
  it("exists when its sku is claimed, and opens its stock", () => {
    const world = new World(ACTORS);
    expect(world.request(ProductActor.method.create, "p1", TEA)).toBeUndefined();
    world.run();
    expect(world.answer(ProductActor.method.create, "p1")).toMatchObject({
      status: ProductStatus.ACTIVE,
      product: { sku: "TEA", revision: 1n },
    });
    expect(stockOf(world, "p1").onHand).toBe(3n);
    place(world, "o1", { lines: [line("p1", 3)] });
    world.run();
    expect(stockOf(world, "p1").reserved).toBe(0n); // one unit is kept back
  });

  it("is refused with the owner of its sku, and its id stays free", () => {
    const world = new World(ACTORS);
    create(world, "p1");
    expect(create(world, "p2")).toMatchObject({ status: ProductStatus.REFUSED, skuOwner: "p1" });
    expect(() => world.request(ProductActor.method.update, "p2", { updateMask: ["name"] })).toThrow(
      expect.objectContaining({ reason: "NOT_FOUND" }),
    );
    expect(create(world, "p2", { ...TEA, sku: "OTHER" })?.status).toBe(ProductStatus.ACTIVE);
    expect(() => world.request(ProductActor.method.create, "p2", TEA)).toThrow(
      expect.objectContaining({ reason: "ALREADY_EXISTS" }),
    );
  });

  it("T18 changes the named fields and no other", () => {
    const world = new World(ACTORS);
    create(world, "p1");
    const reply = world.request(ProductActor.method.update, "p1", {
      updateMask: ["price", "safety_stock"],
      price: 600n,
    });
    expect(reply?.product).toMatchObject({
      price: 600n,
      safetyStock: 0n,
      name: "tea",
      taxRateBp: 700,
      revision: 2n,
    });
    world.run();
    place(world, "o1", { lines: [line("p1", 3)] });
    world.run();
    expect(stockOf(world, "p1").reserved).toBe(3n);
  });

  it("is changed only as it was read, in its currency, and with fields that it has", () => {
    const world = new World(ACTORS);
    create(world, "p1");
    const refusal = (message: object) => {
      try {
        world.request(ProductActor.method.update, "p1", message);
        return "accepted";
      } catch (error) {
        return (error as { reason: string }).reason;
      }
    };
    expect(refusal({ updateMask: ["name"], name: "x", expectedRevision: 7n })).toBe("ETAG_MISMATCH");
    expect(refusal({ updateMask: ["price"], price: 1n, currency: "USD" })).toBe("CURRENCY_MISMATCH");
    expect(refusal({ updateMask: ["stock"] })).toBe("VALIDATION");
    expect(refusal({ updateMask: ["name", "constructor"], name: "y" })).toBe("VALIDATION");
    expect(world.state(ProductStateSchema, "product", "p1")).toMatchObject({ name: "tea", revision: 1n });
    expect(refusal({ updateMask: ["archived"], archived: true, expectedRevision: 1n })).toBe("accepted");
    expect(world.state(ProductStateSchema, "product", "p1").status).toBe(ProductStatus.ARCHIVED);
  });
});

describe("an adjustment", () => {
  function adjust(world: World, key: string, delta: bigint, force = false, productId = "a") {
    world.request(AdjustmentActor.method.adjust, key, { productId, delta, force });
    world.run();
    return world.answer(AdjustmentActor.method.adjust, key);
  }

  it("adds and takes units, and refuses what is not available unless forced", () => {
    const world = worldWith({ a: 5n });
    place(world, "o1", { lines: [line("a", 4)], methodToken: "" });
    world.run();
    expect(adjust(world, "adj1", 2n)).toMatchObject({
      status: AdjustmentStatus.APPLIED,
      stock: { onHand: 7n, reserved: 4n },
    });
    expect(adjust(world, "adj2", -4n)).toMatchObject({
      status: AdjustmentStatus.INSUFFICIENT,
      available: 3n,
    });
    expect(adjust(world, "adj3", -4n, true)).toMatchObject({
      status: AdjustmentStatus.APPLIED,
      available: -1n,
    });
    expect(adjust(world, "adj4", 1n, false, "nosuch")).toMatchObject({ status: AdjustmentStatus.NO_PRODUCT });
    expect(adjust(world, "adj5", 10n ** 16n)).toMatchObject({ status: AdjustmentStatus.OUT_OF_RANGE });
    expect(stockOf(world, "a")).toMatchObject({ onHand: 3n, reserved: 4n });
  });

  it("is made once under its key", () => {
    const world = worldWith({ a: 5n });
    const message = { productId: "a", delta: 1n };
    world.request(AdjustmentActor.method.adjust, "adj1", message, "key-1");
    world.run();
    world.request(AdjustmentActor.method.adjust, "adj1", message, "key-1");
    world.run();
    expect(stockOf(world, "a").onHand).toBe(6n);
    expect(() => world.request(AdjustmentActor.method.adjust, "adj1", message, "key-2")).toThrow(
      expect.objectContaining({ reason: "ALREADY_EXISTS" }),
    );
  });

  it("tells once when stock runs low", () => {
    const world = new World(ACTORS);
    world.request(ProductActor.method.create, "a", {
      ...TEA,
      safetyStock: 0n,
      initialOnHand: 5n,
      lowStockThreshold: 2n,
    });
    world.run();
    adjust(world, "adj1", -3n);
    adjust(world, "adj2", -1n);
    expect(world.eventTypes("a").filter((type) => type === "StockLow")).toHaveLength(1);
  });
});

describe("a tenant", () => {
  it("opens with defaults and changes what is set", () => {
    const world = new World(ACTORS);
    const opened = world.request(TenantActor.method.configure, "demo", { name: "Demo" });
    expect(opened?.tenant).toMatchObject({ name: "Demo", settings: { ...DEFAULT_SETTINGS } });
    const settings = { reservationTtlMs: 5_000n, autoCapture: false };
    const changed = world.request(TenantActor.method.configure, "demo", { settings });
    expect(changed?.tenant).toMatchObject({ name: "Demo", settings: { ...DEFAULT_SETTINGS, ...settings } });
  });

  it.each([
    [{ reservationTtlMs: -1n }, "reservationTtlMs"],
    [{ paymentAttemptsMax: 1_000 }, "paymentAttemptsMax"],
    [{ defaultCurrency: "euro" }, "default_currency"],
  ])("refuses %o", (settings, field) => {
    const world = new World(ACTORS);
    expect(() => world.request(TenantActor.method.configure, "demo", { settings })).toThrow(
      expect.objectContaining({ reason: "VALIDATION", metadata: { field } }),
    );
  });
});
