import type { Random } from "../../../platform/random.ts";
import type { Api } from "./api.ts";

/** One product that is on sale during a run. */
export interface ShopProduct {
  readonly id: string;
  readonly stock: number;
  readonly priceMinor: number;
  readonly taxRateBp: number;
}

/** One order that a client means to place, with what it does around it. */
export interface OrderPlan {
  /** Idempotency key; also in the order's metadata, so that every order names its key. */
  readonly key: string;
  readonly customerId: string;
  readonly lines: readonly { readonly productId: string; readonly quantity: number }[];
  readonly methodToken: string;
  readonly wait: "WAIT_ACCEPTED" | "WAIT_HELD" | "WAIT_SETTLED";
  /** The same request twice at once. */
  readonly isDoubled: boolean;
  /** The client goes away after the first try, whatever came of it. */
  readonly isAbandoned: boolean;
  /** Cancels so long after the answer. */
  readonly cancelAfterMs: number | undefined;
  /** Asks a worker with a defect to show it (poisoned-worker.ts): no answer but an error is expected. */
  readonly isPoison?: "throws" | "kills";
  /** Bytes of the caller's own data. */
  readonly ballastBytes?: number;
}

/** Units of the product that everybody wants. */
export const SCARCE_STOCK = 40;
const PLENTY = 1_000_000;
const CUSTOMERS = 60;
/** Of one entry, by the API's rules; there may be 20. */
const METADATA_CHARACTERS_MAX = 512;

export const SCARCE = "scarce";
export const HOT = "hot";

export const PRODUCTS: readonly ShopProduct[] = [
  { id: SCARCE, stock: SCARCE_STOCK, priceMinor: 9_900, taxRateBp: 1_900 },
  { id: HOT, stock: PLENTY, priceMinor: 250, taxRateBp: 0 },
  ...[1, 2, 3, 4, 5, 6].map((n) => ({
    id: `product-${n}`,
    stock: PLENTY,
    priceMinor: 100 + n * 37,
    taxRateBp: n % 2 === 0 ? 700 : 1_900,
  })),
];

/** Shares of payment tokens; the rest is `tok_ok`. Names steer the simulated provider. */
const TOKENS: readonly (readonly [share: number, token: string])[] = [
  [0.08, "tok_decline"],
  [0.02, "tok_timeout_1"],
  [0.02, "tok_unreachable_1"],
  [0.02, "tok_flaky_1"],
  [0.02, "tok_garbage_1"],
  [0.02, "tok_slow_300"],
  [0.01, "tok_late_800"],
  [0.01, "tok_capture_decline"],
  [0.005, "tok_capture_timeout_1"],
  [0.005, "tok_void_unreachable_1"],
  [0.0025, "tok_unreachable"],
];

/** Creates the products. */
export async function openShop(api: Api): Promise<void> {
  const create = ({ id, stock, priceMinor, taxRateBp }: ShopProduct) =>
    api.must(
      "/tradewind.catalog.v1.CatalogService/CreateProduct",
      {
        productId: id,
        name: `Product ${id}`,
        price: { currencyCode: "EUR", minorUnits: String(priceMinor) },
        taxRateBp,
        initialStock: String(stock),
      },
      { key: `create-${id}` },
    );
  await Promise.all(PRODUCTS.map(create));
}

/** The next order of a mixed load; the same random numbers give the same orders. */
export function planOrder(random: Random, key: string): OrderPlan {
  const roll = random.float();
  const isScarce = roll < 0.1;
  const lines = isScarce ? [{ productId: SCARCE, quantity: 1 }] : plentifulLines(random, roll < 0.3);
  const waits = random.float();
  const isDoubled = random.float() < 0.05;
  return {
    key,
    customerId: `customer-${Math.floor(random.float() * CUSTOMERS)}`,
    lines,
    methodToken: isScarce ? "tok_ok" : tokenOf(random.float()),
    wait: waits < 0.6 ? "WAIT_SETTLED" : waits < 0.8 ? "WAIT_HELD" : "WAIT_ACCEPTED",
    isDoubled,
    isAbandoned: !isDoubled && random.float() < 0.02,
    cancelAfterMs: random.float() < 0.05 ? Math.floor(random.float() * 300) : undefined,
  };
}

function plentifulLines(random: Random, isHot: boolean): { productId: string; quantity: number }[] {
  const quantity = () => 1 + Math.floor(random.float() * 3);
  if (isHot) return [{ productId: HOT, quantity: quantity() }];
  const count = random.float() < 0.3 ? 2 + Math.floor(random.float() * 3) : 1;
  // One product may stand on two lines.
  return Array.from({ length: count }, () => ({
    productId: `product-${1 + Math.floor(random.float() * 6)}`,
    quantity: quantity(),
  }));
}

function tokenOf(roll: number): string {
  let below = 0;
  for (const [share, token] of TOKENS) {
    below += share;
    if (roll < below) return token;
  }
  return "tok_ok";
}

/** The request that places it. */
export function placeRequest(plan: OrderPlan): object {
  const { key, customerId, lines, methodToken, wait, isPoison, ballastBytes = 0 } = plan;
  const ballast = Array.from({ length: Math.ceil(ballastBytes / METADATA_CHARACTERS_MAX) }, (_, index) => [
    `ballast-${index}`,
    "x".repeat(METADATA_CHARACTERS_MAX),
  ]);
  const poison = isPoison === undefined ? {} : { poison: isPoison };
  const metadata = { key, ...poison, ...Object.fromEntries(ballast) };
  return { customerId, lines, payment: { methodToken }, wait, timeout: "5s", metadata };
}
