import type { WantedProduct } from "./catalogue.ts";
import { DEMO_CATALOGUE } from "./demo-catalogue.ts";
import type { PlannedOrder } from "./order-mix.ts";

/** A fixed set of data: the same products and orders each time, so that a second run adds nothing. */
export interface Preset {
  readonly description: string;
  readonly products: readonly WantedProduct[];
  readonly orders: readonly PlannedOrder[];
}

export const PRESET_NAMES = ["demo", "sales"] as const;
export type PresetName = (typeof PRESET_NAMES)[number];

function order(
  customerId: string,
  productId: string,
  quantity: number,
  methodToken = "tok_ok",
): PlannedOrder {
  return { customerId, lines: [{ productId, quantity }], methodToken };
}

const demo: Preset = {
  description: "the demo shop: 5 products, 8 orders, one of them declined and one out of stock",
  products: DEMO_CATALOGUE,
  orders: [
    {
      customerId: "ada",
      lines: [
        { productId: "cup", quantity: 2 },
        { productId: "tea", quantity: 3 },
      ],
      methodToken: "tok_ok",
    },
    order("grace", "kettle", 1),
    order("alan", "honey", 4),
    order("ada", "tea", 1),
    order("edsger", "cup", 6, "tok_decline"),
    order("barbara", "teapot", 1),
    order("grace", "teapot", 500),
    order("alan", "tea", 10),
  ],
};

const SALES: readonly (readonly [customer: number, product: number, quantity: number])[] = [
  [1, 1, 2],
  [2, 2, 1],
  [3, 1, 5],
  [4, 2, 3],
  [5, 1, 1],
  [6, 2, 2],
  [1, 2, 1],
  [2, 1, 4],
  [3, 2, 2],
  [4, 1, 1],
];

const sales: Preset = {
  description: "6 customers, 2 products, 10 sales",
  products: [
    { id: "product-1", name: "Product 1", price: 1_000n, taxRateBp: 0, units: 100 },
    { id: "product-2", name: "Product 2", price: 4_500n, taxRateBp: 0, units: 100 },
  ],
  orders: SALES.map(([customer, product, quantity]) =>
    order(`customer-${customer}`, `product-${product}`, quantity),
  ),
};

export const PRESETS: Readonly<Record<PresetName, Preset>> = { demo, sales };
