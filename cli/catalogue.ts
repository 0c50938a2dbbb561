import { type Clock, sleep } from "../platform/clock.ts";
import { type ApiClient, ApiError } from "./api-client.ts";
import { API } from "./api-paths.ts";

/** A product as a generator wants it. */
export interface WantedProduct {
  readonly id: string;
  readonly name: string;
  /** Minor units. */
  readonly price: bigint;
  readonly taxRateBp: number;
  /** Units that it starts with, or that a generator needs. */
  readonly units: number;
}

const CURRENCY = "EUR";
/** A product opens its stock a moment after it was created. */
const OPENING_MS_MAX = 5_000;
const OPENING_POLL_MS = 10;
const CONCURRENCY = 8;

/** Creates a product with its stock unless it is there. The key is fixed: any number of starts make one product. */
export async function ensureProduct(
  api: ApiClient,
  clock: Clock,
  product: WantedProduct,
  keyPrefix: string,
): Promise<void> {
  const { id, name, price, taxRateBp, units } = product;
  const money = { currencyCode: CURRENCY, minorUnits: String(price) };
  const request = { productId: id, sku: id, name, price: money, taxRateBp, initialStock: String(units) };
  try {
    await api.call(API.createProduct, request, `${keyPrefix}-product-${id}`);
  } catch (error) {
    // Another command made it, maybe with another price or stock: it is there, and that is all that is wanted.
    const isThere =
      error instanceof ApiError &&
      (error.code === "already_exists" || error.reason === "IDEMPOTENCY_KEY_REUSED");
    if (!isThere) throw error;
  }
  const giveUpMs = clock.monotonicMs() + OPENING_MS_MAX;
  while ((await stockOf(api, id)) === undefined && clock.monotonicMs() < giveUpMs) {
    await sleep(clock, OPENING_POLL_MS);
  }
}

/** Units that can be ordered now; undefined while the stock is not open. */
async function stockOf(api: ApiClient, productId: string): Promise<number | undefined> {
  try {
    const answer = await api.call<{ stock?: { available?: string; updatedAt?: string } }>(API.getStock, {
      productId,
    });
    const { available, updatedAt } = answer.stock ?? {};
    return updatedAt === undefined ? undefined : Number(available ?? 0);
  } catch (error) {
    if (error instanceof ApiError && error.code === "not_found") return undefined;
    throw error;
  }
}

/** Creates products and tops their stock up to what is wanted. */
export async function ensureStocked(
  api: ApiClient,
  clock: Clock,
  products: readonly WantedProduct[],
  keyPrefix: string,
  runId: string,
): Promise<void> {
  const left = [...products];
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const { id: productId, units } = next;
      await ensureProduct(api, clock, next, keyPrefix);
      const missing = units - ((await stockOf(api, productId)) ?? 0);
      if (missing <= 0) continue;
      const request = { productId, delta: String(missing), reason: "seed" };
      await api.call(API.adjustStock, request, `${keyPrefix}-stock-${productId}-${runId}`);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}
