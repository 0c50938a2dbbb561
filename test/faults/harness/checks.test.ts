import { describe, expect, it } from "vitest";
import { Diary } from "./diary.ts";
import { checkMoney, type LedgerEntry } from "./money.ts";
import type { OrderView } from "./order-view.ts";
import { placeRequest, planOrder } from "./shop.ts";
import { seededRandom } from "../../../platform/random.ts";

const order = (id: string, status: string, more: Partial<OrderView> = {}): OrderView => ({
  id,
  customerId: "ada",
  status: `ORDER_STATUS_${status}`,
  lines: [{ productId: "tea", quantity: 1 }],
  total: { currencyCode: "EUR", minorUnits: "500" },
  revision: "3",
  ...more,
});
const entry = (
  operation: LedgerEntry["operation"],
  id: string,
  more: Partial<LedgerEntry> = {},
): LedgerEntry => ({
  operation,
  key: `${operation}-${id}`,
  authorizationKey: `${id}:1`,
  amount: "500",
  status: "approved",
  ...more,
});
const blame = (ledger: readonly LedgerEntry[], orders: readonly OrderView[]) =>
  checkMoney(ledger, orders).violations.join("\n");

describe("the check of the money", () => {
  it("is content with one charge of a confirmed order, and with charges that were paid back once", () => {
    const ledger = [
      entry("authorize", "a"),
      entry("capture", "a"),
      entry("authorize", "b"),
      entry("capture", "b"),
      entry("refund", "b"),
      entry("authorize", "c"),
      entry("void", "c"),
    ];
    expect(blame(ledger, [order("a", "CONFIRMED"), order("b", "CANCELLED"), order("c", "FAILED")])).toBe("");
  });

  it.each([
    [
      "two charges",
      [entry("authorize", "a"), entry("capture", "a"), entry("capture", "a")],
      "charged 2 times",
    ],
    [
      "another amount",
      [entry("authorize", "a"), entry("capture", "a", { amount: "499" })],
      "charged 499 of 500",
    ],
    ["no charge", [], "never charged"],
    [
      "a refund",
      [entry("authorize", "a"), entry("capture", "a"), entry("refund", "a")],
      "should have cost 500",
    ],
  ])("finds %s of a confirmed order", (_name, ledger, text) => {
    expect(blame(ledger, [order("a", "CONFIRMED")])).toContain(text);
  });

  it.each([
    ["a charge that was kept", [entry("authorize", "a"), entry("capture", "a")], "should have cost 0"],
    ["an open authorisation", [entry("authorize", "a")], "open authorisation a:1"],
    [
      "two refunds",
      [entry("authorize", "a"), entry("capture", "a"), entry("refund", "a"), entry("refund", "a")],
      "paid back 2 times",
    ],
  ])("finds %s of an order that was cancelled", (_name, ledger, text) => {
    expect(blame(ledger, [order("a", "CANCELLED")])).toContain(text);
  });

  it("finds a charge without an order", () => {
    expect(blame([entry("authorize", "x"), entry("capture", "x")], [])).toContain("x is no order");
  });
});

describe("the diary", () => {
  const plan = {
    ...planOrder(seededRandom(1), "k"),
    customerId: "ada",
    lines: [{ productId: "tea", quantity: 1 }],
  };
  const mine = (id: string, status: string, revision = "3") =>
    order(id, status, { revision, metadata: { key: "k" } });
  const told = (...orders: OrderView[]) => {
    const diary = new Diary();
    diary.open(plan, 0);
    for (const each of orders) diary.heard("k", each, 1, "test");
    return diary.violations.join("\n");
  };

  it("is content with an order that moves on, also when it hears of it in another order", () => {
    expect(
      told(mine("a", "PENDING", "1"), mine("a", "CONFIRMED", "3"), mine("a", "AWAITING_PAYMENT", "2")),
    ).toBe("");
  });

  it("finds two orders of one key", () => {
    expect(told(mine("a", "PENDING"), mine("b", "PENDING"))).toContain("key k has the orders a and b");
  });

  it("finds a final order that moves on", () => {
    expect(told(mine("a", "CANCELLED", "3"), mine("a", "CONFIRMED", "4"))).toContain("went from CANCELLED");
  });

  it("finds an order that is not as it was asked for", () => {
    expect(told({ ...mine("a", "PENDING"), lines: [{ productId: "tea", quantity: 2 }] })).toContain(
      "has tea 2",
    );
    expect(told(order("a", "PENDING"))).toContain("says key undefined");
  });
});

it("plans the same orders from the same seed", () => {
  const plans = (seed: number) => {
    const random = seededRandom(seed);
    return Array.from({ length: 50 }, (_, index) =>
      JSON.stringify(placeRequest(planOrder(random, `k-${index}`))),
    );
  };
  expect(plans(7)).toEqual(plans(7));
  expect(plans(7)).not.toEqual(plans(8));
});
