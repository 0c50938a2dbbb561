/** Paths of the rpcs that the generators call with plain JSON. */
export const API = Object.freeze({
  placeOrder: "/tradewind.order.v1.OrderService/PlaceOrder",
  createProduct: "/tradewind.catalog.v1.CatalogService/CreateProduct",
  getStock: "/tradewind.inventory.v1.InventoryService/GetStock",
  adjustStock: "/tradewind.inventory.v1.InventoryService/AdjustStock",
  totalSales: "/tradewind.analytics.v1.AnalyticsService/GetTotalSales",
});

/** How far PlaceOrder waits; names as the API spells them. */
export const WAITS = ["accepted", "held", "settled"] as const;
export type WaitName = (typeof WAITS)[number];

/** `WAIT_SETTLED` */
export function waitValue(wait: WaitName): string {
  return `WAIT_${wait.toUpperCase()}`;
}
