/** Keys of the projection's records, see analytics_state.proto. */
export const ANALYTICS = "analytics";
const MINUTE_MS = 60_000;

export const FUNNEL = "funnel";
export const totalKey = (currency: string) => `total-${currency}`;
export const minuteKey = (currency: string, atMs: bigint) =>
  `minute-${currency}-${Math.floor(Number(atMs) / MINUTE_MS)}`;
export const productKey = (currency: string, productId: string) => `product-${currency}-${productId}`;
export const customerKey = (currency: string, customerId: string) => `customer-${currency}-${customerId}`;
export const topCustomersKey = (currency: string) => `top-customers-${currency}`;
export const topProductsKey = (currency: string) => `top-products-${currency}`;
