import type { MessageInitShape } from "@bufbuild/protobuf";
import type { PricedLineSchema } from "../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { ProductStatus } from "../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import type { OrderLineInput } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { edgeError } from "./connect-errors.ts";
import { isProduct, type ProductCache } from "./product-cache.ts";

/** Units of one product in one order, its lines added up. */
const QUANTITY_MAX = 1_000_000;

/** A line with the product and the price that the server has now. */
export type PricedLine = MessageInitShape<typeof PricedLineSchema>;

/**
 * Adds up the lines of one product and resolves its price.
 * @throws ConnectError VALIDATION, NOT_FOUND, PRODUCT_ARCHIVED or CURRENCY_MISMATCH: nothing has been accepted
 */
export async function priceLines(
  products: ProductCache,
  tenant: string,
  lines: readonly OrderLineInput[],
): Promise<readonly PricedLine[]> {
  const merged = mergeLines(lines);
  const ids = [...merged.keys()];
  const states = await products.getMany(tenant, ids);
  let currency: string | undefined;
  return ids.map((productId, index) => {
    const state = states[index];
    const { quantity, line } = merged.get(productId) ?? { quantity: 0, line: 0 };
    const field = `lines[${line}].product_id`;
    if (!isProduct(state)) throw unknownProduct(productId, field);
    if (state.status === ProductStatus.ARCHIVED) {
      throw edgeError("PRODUCT_ARCHIVED", `product ${productId} is not for sale`, {
        metadata: { product_id: productId },
      });
    }
    currency ??= state.currency;
    if (state.currency !== currency) {
      const text = `product ${productId} costs ${state.currency}, the lines before it ${currency}`;
      throw edgeError("CURRENCY_MISMATCH", text, { metadata: { product_id: productId } });
    }
    const { sku, name, price, taxRateBp, revision } = state;
    return {
      productId,
      quantity,
      sku,
      name,
      unitPrice: price,
      currency,
      taxRateBp,
      productRevision: revision,
    };
  });
}

function unknownProduct(productId: string, field: string) {
  return edgeError("NOT_FOUND", `there is no product ${productId}`, {
    resource: { type: "product", name: productId },
    metadata: { product_id: productId },
    violations: [{ field, description: "there is no such product", rule: "product.exists" }],
  });
}

/** `line` is the index of the first line of the product, to point at in an error. */
function mergeLines(
  lines: readonly OrderLineInput[],
): ReadonlyMap<string, { quantity: number; line: number }> {
  const merged = new Map<string, { quantity: number; line: number }>();
  for (const [index, { productId, quantity }] of lines.entries()) {
    const known = merged.get(productId);
    const sum = (known?.quantity ?? 0) + quantity;
    if (sum > QUANTITY_MAX) {
      const description = `the lines of ${productId} add up to ${sum}, at most ${QUANTITY_MAX} are taken`;
      const field = `lines[${index}].quantity`;
      throw edgeError("VALIDATION", `${field}: ${description}`, {
        violations: [{ field, description, rule: "order.product_quantity" }],
      });
    }
    merged.set(productId, { quantity: sum, line: known?.line ?? index });
  }
  return merged;
}
