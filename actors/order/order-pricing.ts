import type { MessageInitShape } from "@bufbuild/protobuf";
import type { PlaceOrder, PricedLine } from "../../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import type { OrderLineSchema } from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { DomainError } from "../runtime/index.ts";
import { AmountRangeError, checkedAmount, taxOf } from "../shared/money.ts";

/** Most products of one order. */
export const LINES_MAX = 100;
const QUANTITY_MAX = 1_000_000_000;

/** An order's lines and sums: total = subtotal + tax. */
export interface PricedOrder {
  readonly currency: string;
  readonly lines: MessageInitShape<typeof OrderLineSchema>[];
  readonly subtotal: bigint;
  readonly tax: bigint;
  readonly total: bigint;
}

/**
 * Adds up the lines of one product, sorts them by product id, and computes the sums from the prices that came along.
 * @throws DomainError VALIDATION, CURRENCY_MISMATCH, AMOUNT_OUT_OF_RANGE, PRICE_CHANGED {expected, actual}
 */
export function priceOrder(message: PlaceOrder): PricedOrder {
  try {
    const priced = sumUp(mergeLines(message.lines));
    checkExpected(message, priced);
    return priced;
  } catch (error) {
    if (error instanceof AmountRangeError) throw DomainError.of("AMOUNT_OUT_OF_RANGE", error.message);
    throw error;
  }
}

function mergeLines(lines: readonly PricedLine[]): PricedLine[] {
  const byProduct = new Map<string, PricedLine>();
  for (const line of lines) {
    const same = byProduct.get(line.productId);
    if (same === undefined) byProduct.set(line.productId, line);
    else byProduct.set(line.productId, { ...same, quantity: same.quantity + line.quantity });
  }
  const merged = [...byProduct.values()];
  const [first] = merged;
  if (first === undefined || merged.length > LINES_MAX) {
    throw refusal("lines", `an order has 1 to ${LINES_MAX} products, not ${merged.length}`);
  }
  for (const { productId, quantity, unitPrice, currency, taxRateBp } of merged) {
    if (quantity < 1 || quantity > QUANTITY_MAX) {
      throw refusal(
        "lines.quantity",
        `the quantity of ${productId} is 1 to ${QUANTITY_MAX}, not ${quantity}`,
      );
    }
    if (unitPrice < 0n || taxRateBp < 0)
      throw refusal("lines", `${productId} has a price or tax rate below 0`);
    if (currency !== first.currency) throw mismatch(first.currency, currency);
  }
  return merged.sort((a, b) => (a.productId < b.productId ? -1 : 1));
}

function sumUp(merged: readonly PricedLine[]): PricedOrder {
  let subtotal = 0n;
  let tax = 0n;
  const lines = merged.map(({ productId, sku, name, quantity, unitPrice, taxRateBp, productRevision }) => {
    const lineTotal = checkedAmount(unitPrice * BigInt(quantity));
    const lineTax = taxOf(lineTotal, taxRateBp);
    subtotal += lineTotal;
    tax += lineTax;
    return { productId, sku, name, quantity, unitPrice, taxRateBp, productRevision, lineTotal, tax: lineTax };
  });
  return { currency: merged[0]?.currency ?? "", lines, subtotal, tax, total: checkedAmount(subtotal + tax) };
}

function checkExpected(
  { expectedTotal, expectedCurrency }: PlaceOrder,
  { total, currency }: PricedOrder,
): void {
  if (expectedTotal === undefined) return;
  if (expectedCurrency !== "" && expectedCurrency !== currency) throw mismatch(expectedCurrency, currency);
  if (expectedTotal === total) return;
  const metadata = { expected: String(expectedTotal), actual: String(total), currency };
  throw DomainError.of("PRICE_CHANGED", `the total is ${total} minor units, not ${expectedTotal}`, metadata);
}

function refusal(field: string, text: string): DomainError {
  return DomainError.of("VALIDATION", text, { field });
}

function mismatch(expected: string, actual: string): DomainError {
  return DomainError.of("CURRENCY_MISMATCH", `amounts of ${expected} and ${actual} meet`, {
    expected,
    actual,
  });
}
