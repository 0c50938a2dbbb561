import type { ActorClient } from "../actors/runtime/index.ts";
import type { Clock } from "../platform/clock.ts";
import {
  type ProductState,
  ProductStateSchema,
  ProductStatus,
} from "../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import { createRecordCache, type RecordCache } from "./record-cache.ts";

export type ProductCache = RecordCache<typeof ProductStateSchema>;

export const PRODUCT_KIND = "product";

const PRODUCTS_MAX = 20_000;
const AGE_MS_MAX = 30_000;

/** Products by id: every order needs their prices. */
export function createProductCache(client: ActorClient, clock: Clock): ProductCache {
  return createRecordCache({
    client,
    clock,
    kind: PRODUCT_KIND,
    schema: ProductStateSchema,
    revisionOf: ({ revision }) => revision,
    recordsMax: PRODUCTS_MAX,
    ageMsMax: AGE_MS_MAX,
  });
}

/** Whether there is such a product for readers; it may be archived. */
export function isProduct(state: ProductState | undefined): state is ProductState {
  return state?.status === ProductStatus.ACTIVE || state?.status === ProductStatus.ARCHIVED;
}
