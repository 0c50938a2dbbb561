import type { Clock } from "../platform/clock.ts";
import type { ApiClient } from "./api-client.ts";
import { ensureProduct, type WantedProduct } from "./catalogue.ts";

/** Goods of the demo shop. */
export const DEMO_CATALOGUE: readonly WantedProduct[] = [
  { id: "tea", name: "Green tea, 100 g", price: 799n, taxRateBp: 700, units: 10_000 },
  { id: "cup", name: "Porcelain cup", price: 1_250n, taxRateBp: 1_900, units: 5_000 },
  { id: "kettle", name: "Cast-iron kettle", price: 8_900n, taxRateBp: 1_900, units: 1_000 },
  { id: "honey", name: "Acacia honey, 250 g", price: 649n, taxRateBp: 700, units: 3_000 },
  { id: "teapot", name: "Hand-thrown teapot, numbered", price: 24_900n, taxRateBp: 1_900, units: 3 },
];

/** Fills the catalogue of a new system; does nothing in one that has it. */
export async function seedDemoCatalogue(api: ApiClient, clock: Clock): Promise<void> {
  await Promise.all(DEMO_CATALOGUE.map((product) => ensureProduct(api, clock, product, DEMO_CATALOGUE_KEY)));
}

/** Prefix of the idempotency keys under which they are created. */
export const DEMO_CATALOGUE_KEY = "demo-catalogue";
