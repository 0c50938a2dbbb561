import type { Random } from "../platform/random.ts";
import { type WaitName, waitValue } from "./api-paths.ts";

interface Range {
  readonly min: number;
  readonly max: number;
}

/** What the orders of a generator look like. */
export interface OrderMix {
  /** Ids to choose from, all alike. */
  readonly products: readonly string[];
  /** Customers are `<prefix><number>`. */
  readonly customerPrefix: string;
  readonly customers: Range;
  /** Lines of one order, each of another product as far as there are enough. */
  readonly lines: Range;
  readonly quantity: Range;
  /** Share of orders whose payment is declined. */
  readonly declinedShare: number;
  readonly wait: WaitName;
}

/** One order to place. */
export interface PlannedOrder {
  readonly customerId: string;
  readonly lines: readonly { readonly productId: string; readonly quantity: number }[];
  readonly methodToken: string;
}

const TOKEN_OK = "tok_ok";
const TOKEN_DECLINED = "tok_decline";

function between({ min, max }: Range, random: Random): number {
  return min + Math.floor(random.float() * (max - min + 1));
}

/** The next order; the same random numbers give the same orders. */
export function nextOrder(mix: OrderMix, random: Random): PlannedOrder {
  const { products, customers, customerPrefix, declinedShare } = mix;
  const customerId = `${customerPrefix}${between(customers, random)}`;
  const count = Math.min(between(mix.lines, random), products.length);
  const first = Math.floor(random.float() * products.length);
  const lines = Array.from({ length: count }, (_, at) => ({
    productId: products[(first + at) % products.length] ?? "",
    quantity: between(mix.quantity, random),
  }));
  const isDeclined = declinedShare > 0 && random.float() < declinedShare;
  return { customerId, lines, methodToken: isDeclined ? TOKEN_DECLINED : TOKEN_OK };
}

/** The request as JSON; every value in it is plain. */
export function orderJson({ customerId, lines, methodToken }: PlannedOrder, wait: WaitName): string {
  const parts = lines.map(({ productId, quantity }) => `{"productId":"${productId}","quantity":${quantity}}`);
  return (
    `{"customerId":"${customerId}","lines":[${parts.join(",")}],` +
    `"payment":{"methodToken":"${methodToken}"},"wait":"${waitValue(wait)}","timeout":"25s"}`
  );
}
