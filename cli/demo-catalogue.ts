import type { Clock } from "../platform/clock.ts";
import type { ApiClient } from "./api-client.ts";
import { addStock, ensureProduct, type WantedProduct } from "./catalogue.ts";

/** Goods of the demo shop with the units they start with. */
export const DEMO_CATALOGUE: readonly (WantedProduct & { readonly units: number })[] = [
  { id: "tea", name: "Green tea, 100 g", price: 799n, taxRateBp: 700, units: 10_000 },
  { id: "cup", name: "Porcelain cup", price: 1_250n, taxRateBp: 1_900, units: 5_000 },
  { id: "kettle", name: "Cast-iron kettle", price: 8_900n, taxRateBp: 1_900, units: 1_000 },
  { id: "honey", name: "Acacia honey, 250 g", price: 649n, taxRateBp: 700, units: 3_000 },
  { id: "teapot", name: "Hand-thrown teapot, numbered", price: 24_900n, taxRateBp: 1_900, units: 3 },
];

const KEY = "demo-catalogue";

/** Fills the catalogue of a new system; does nothing in one that has it. */
export async function seedDemoCatalogue(api: ApiClient, clock: Clock): Promise<void> {
  await Promise.all(
    DEMO_CATALOGUE.map(async (product) => {
      await ensureProduct(api, product, KEY);
      await addStock(api, clock, product.id, product.units, `${KEY}-stock-${product.id}`);
    }),
  );
}
