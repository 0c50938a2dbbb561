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
  readonly description?: string;
}

const CURRENCY = "EUR";
/** A product opens its stock a moment after it was created. */
const OPENING_ATTEMPTS_MAX = 40;
const OPENING_WAIT_MS = 50;

/** Creates a product unless it is there. The key is fixed, so that any number of starts make one product. */
export async function ensureProduct(
  api: ApiClient,
  product: WantedProduct,
  keyPrefix: string,
): Promise<void> {
  const { id, name, price, taxRateBp, description = "" } = product;
  const money = { currencyCode: CURRENCY, minorUnits: String(price) };
  const request = { productId: id, sku: id, name, description, price: money, taxRateBp };
  try {
    await api.call(API.createProduct, request, `${keyPrefix}-product-${id}`);
  } catch (error) {
    // Another command made it, maybe with another price: it is there, and that is all that is wanted.
    const isThere =
      error instanceof ApiError &&
      (error.code === "already_exists" || error.reason === "IDEMPOTENCY_KEY_REUSED");
    if (!isThere) throw error;
  }
}

/** Adds units under a fixed key: repeated, it adds nothing. Waits until the stock of a new product is open. */
export async function addStock(
  api: ApiClient,
  clock: Clock,
  productId: string,
  units: number,
  key: string,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      const request = { productId, delta: String(units), reason: "seed" };
      // A refusal is remembered under its key like any other answer, so each attempt has one of its own.
      await api.call(API.adjustStock, request, attempt === 1 ? key : `${key}-${attempt}`);
      return;
    } catch (error) {
      const isClosed = error instanceof ApiError && error.code === "not_found";
      if (!isClosed || attempt >= OPENING_ATTEMPTS_MAX) throw error;
      await sleep(clock, OPENING_WAIT_MS);
    }
  }
}

/** Units that can be ordered now; 0 while the stock is not open. */
export async function availableUnits(api: ApiClient, productId: string): Promise<number> {
  try {
    const { stock } = await api.call<{ stock?: { available?: string } }>(API.getStock, { productId });
    return Number(stock?.available ?? 0);
  } catch (error) {
    if (error instanceof ApiError && error.code === "not_found") return 0;
    throw error;
  }
}

/** Creates products and tops their stock up to what is wanted. */
export async function ensureStocked(
  api: ApiClient,
  clock: Clock,
  products: readonly { readonly product: WantedProduct; readonly units: number }[],
  keyPrefix: string,
  runId: string,
): Promise<void> {
  const left = [...products];
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const { product, units } = next;
      await ensureProduct(api, product, keyPrefix);
      const missing = units - (await availableUnits(api, product.id));
      if (missing > 0)
        await addStock(api, clock, product.id, missing, `${keyPrefix}-stock-${product.id}-${runId}`);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}

const CONCURRENCY = 8;
