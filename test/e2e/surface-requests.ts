import { Bucket } from "../../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { expect } from "vitest";
import { EUR, orderOf, paidBy } from "./calls.ts";

/** What was there before: an order that is confirmed and paid. */
export interface Known {
  readonly orderId: string;
  readonly paymentId: string;
}

export const line = { productId: "tea", quantity: 1 };
export const price = EUR(100n);

/** A request that each method answers, and what is in the answer. */
export const GOOD: Readonly<Record<string, (known: Known) => readonly [object, object]>> = {
  "OrderService.PlaceOrder": () => [orderOf("tea"), { waitReached: true, order: { customerId: "ada" } }],
  "OrderService.GetOrder": ({ orderId }) => [{ orderId }, { order: { id: orderId } }],
  "OrderService.ListOrders": () => [{ pageSize: 1 }, { orders: [{ tenantId: "demo" }] }],
  "OrderService.CancelOrder": ({ orderId }) => [{ orderId }, { order: { id: orderId } }],
  "OrderService.GetOrderHistory": ({ orderId }) => [{ orderId }, { entries: expect.anything() }],
  "OrderService.WatchOrder": ({ orderId }) => [
    { orderId },
    { event: { case: "snapshot", value: { id: orderId } } },
  ],
  "OrderService.WatchOrders": () => [{}, { event: { case: "snapshot" } }],
  "CatalogService.CreateProduct": () => [{ name: "Cup", price }, { product: { name: "Cup", etag: "r1" } }],
  "CatalogService.GetProduct": () => [{ productId: "tea" }, { product: { id: "tea", price: EUR(500n) } }],
  "CatalogService.ListProducts": () => [{}, { products: expect.anything() }],
  "CatalogService.UpdateProduct": () => [
    { productId: "tea", product: { description: "green" } },
    { product: { description: "green" } },
  ],
  "InventoryService.GetStock": () => [{ productId: "tea" }, { stock: { productId: "tea" } }],
  "InventoryService.ListStock": () => [{}, { stocks: expect.anything() }],
  "InventoryService.AdjustStock": () => [{ productId: "tea", delta: 1n }, { stock: { productId: "tea" } }],
  "InventoryService.CheckAvailability": () => [
    { lines: [line, line] },
    { allAvailable: true, lines: [{ productId: "tea", requested: 2n, sufficient: true }] },
  ],
  "InventoryService.WatchStock": () => [{ productIds: ["tea"] }, { event: { case: "snapshot" } }],
  "PaymentService.GetPayment": ({ orderId, paymentId }) => [
    { paymentId },
    { payment: { id: paymentId, orderId } },
  ],
  "PaymentService.ListPayments": ({ orderId, paymentId }) => [{ orderId }, { payments: [{ id: paymentId }] }],
  "AnalyticsService.GetTotalSales": () => [{}, { totalSales: { gross: { currencyCode: "EUR" } } }],
  "AnalyticsService.GetSalesByProduct": () => [{ productId: "tea" }, { sales: { productId: "tea" } }],
  "AnalyticsService.GetTopCustomers": () => [{}, { topCustomers: expect.anything() }],
  "AnalyticsService.GetTopProducts": () => [{}, { topProducts: expect.anything() }],
  "AnalyticsService.GetSalesSeries": () => [{}, { series: { bucket: Bucket.MINUTE } }],
  "AnalyticsService.ListSalesByProduct": () => [{}, { products: expect.anything() }],
  "AnalyticsService.WatchTotalSales": () => [{}, { event: { case: "snapshot" } }],
  "AnalyticsService.WatchSalesByProduct": () => [{ productId: "tea" }, { event: { case: "snapshot" } }],
  "AnalyticsService.WatchTopCustomers": () => [{}, { event: { case: "snapshot" } }],
  "AnalyticsService.WatchTopProducts": () => [{}, { event: { case: "snapshot" } }],
  "AnalyticsService.WatchSalesSeries": () => [{ buckets: 3 }, { event: { case: "snapshot" } }],
  "OpsService.GetSystemStatus": () => [{}, { nats: { connected: true } }],
  "OpsService.ListDeadLetters": () => [{}, { deadLetters: [] }],
  "OpsService.Reconcile": () => [{ timeout: { seconds: 10n } }, { verdict: 1 }],
  "OpsService.ArchiveOrders": () => [{}, { archived: 0n, kept: 0n, complete: true }],
};

/** Methods whose good requests need a state of their own; money.test.ts and poison.test.ts have them. */
export const ELSEWHERE = [
  "PaymentService.PayOrder",
  "PaymentService.RefundPayment",
  "OpsService.GetDeadLetter",
  "OpsService.RedriveDeadLetter",
  "OpsService.DiscardDeadLetter",
];

const BAD_ID = "no id!";
const LONG = "x".repeat(600);

/** A request that breaks rules, and the fields that the answer names. */
export const BAD: readonly (readonly [string, object, readonly string[]])[] = [
  ["OrderService.PlaceOrder", {}, ["customer_id", "lines"]],
  [
    "OrderService.PlaceOrder",
    {
      customerId: BAD_ID,
      lines: [line, { productId: "", quantity: 0 }, { productId: "tea", quantity: 1_000_001 }],
      wait: 9,
      timeout: { seconds: 26n },
      payment: { methodToken: "4111 1111 1111 1111" },
      expectedTotal: { currencyCode: "euro" },
      metadata: { "": "x", ok: LONG },
    },
    [
      "customer_id",
      "lines[1].product_id",
      "lines[1].quantity",
      "lines[2].quantity",
      "expected_total.currency_code",
      "payment.method_token",
      "wait",
      "timeout",
      'metadata[""]',
      'metadata["ok"]',
    ],
  ],
  ["OrderService.PlaceOrder", { ...orderOf("tea"), requestId: "tab\t" }, ["request_id"]],
  ["OrderService.PlaceOrder", { ...orderOf("tea"), branchId: "berlin" }, ["branch_id"]],
  [
    "OrderService.PlaceOrder",
    { ...orderOf("tea"), lines: [line, { productId: "tea", quantity: 1_000_000 }] },
    ["lines[1].quantity"],
  ],
  ["OrderService.GetOrder", { orderId: "" }, ["order_id"]],
  [
    "OrderService.ListOrders",
    { pageSize: 501, filter: { statuses: [0], customerId: BAD_ID } },
    ["filter.statuses[0]", "filter.customer_id", "page_size"],
  ],
  [
    "OrderService.ListOrders",
    { filter: { created: { start: { seconds: 9n }, end: { seconds: 8n } } } },
    ["filter.created"],
  ],
  ["OrderService.CancelOrder", { orderId: BAD_ID, reason: LONG }, ["order_id", "reason"]],
  ["OrderService.GetOrderHistory", { orderId: "" }, ["order_id"]],
  ["OrderService.WatchOrder", { orderId: "" }, ["order_id"]],
  ["OrderService.WatchOrder", { orderId: "ord_x", cursor: "yesterday" }, ["cursor"]],
  ["OrderService.WatchOrders", { snapshotSize: -1 }, ["snapshot_size"]],
  ["CatalogService.CreateProduct", { name: "" }, ["name", "price"]],
  [
    "CatalogService.CreateProduct",
    { name: "x", price: EUR(-1n), taxRateBp: 10_001, initialStock: -1n, sku: "with space", safetyStock: -1n },
    ["sku", "price", "tax_rate_bp", "safety_stock", "initial_stock"],
  ],
  ["CatalogService.GetProduct", { productId: BAD_ID }, ["product_id"]],
  ["CatalogService.ListProducts", { pageSize: -1 }, ["page_size"]],
  ["CatalogService.UpdateProduct", { productId: "tea" }, ["product"]],
  ["CatalogService.UpdateProduct", { productId: "tea", product: { name: "" } }, ["product.name"]],
  ["CatalogService.UpdateProduct", { productId: "tea", product: {} }, ["product"]],
  [
    "CatalogService.UpdateProduct",
    { productId: "tea", product: { name: "x" }, updateMask: { paths: ["sku"] } },
    ["update_mask"],
  ],
  ["CatalogService.UpdateProduct", { productId: "tea", product: { name: "x" }, etag: "new" }, ["etag"]],
  ["InventoryService.GetStock", { productId: "" }, ["product_id"]],
  ["InventoryService.GetStock", { productId: "tea", branchId: "berlin" }, ["branch_id"]],
  ["InventoryService.ListStock", { pageSize: 501 }, ["page_size"]],
  ["InventoryService.AdjustStock", { productId: "tea", delta: 0n }, ["delta"]],
  ["InventoryService.CheckAvailability", { lines: [] }, ["lines"]],
  ["InventoryService.WatchStock", { productIds: ["tea", BAD_ID] }, ["product_ids[1]"]],
  ["PaymentService.GetPayment", { paymentId: "" }, ["payment_id"]],
  ["PaymentService.ListPayments", { statuses: [1, 1] }, ["statuses"]],
  ["PaymentService.PayOrder", { orderId: "ord_x" }, ["payment"]],
  ["PaymentService.RefundPayment", { paymentId: "pay_x", amount: EUR(0n) }, ["amount"]],
  ["AnalyticsService.GetTotalSales", { currencyCode: "eur" }, ["currency_code"]],
  ["AnalyticsService.GetSalesByProduct", { productId: "" }, ["product_id"]],
  ["AnalyticsService.GetTopCustomers", { limit: 101 }, ["limit"]],
  ["AnalyticsService.GetTopProducts", { limit: -1, measure: 7 }, ["limit", "measure"]],
  [
    "AnalyticsService.GetSalesSeries",
    { range: { start: { seconds: 0n }, end: { seconds: 86_460n } } },
    ["range"],
  ],
  ["AnalyticsService.ListSalesByProduct", { pageSize: 501 }, ["page_size"]],
  ["AnalyticsService.WatchTotalSales", { currencyCode: "EURO" }, ["currency_code"]],
  ["AnalyticsService.WatchSalesByProduct", { productId: "" }, ["product_id"]],
  ["AnalyticsService.WatchTopCustomers", { limit: 101 }, ["limit"]],
  ["AnalyticsService.WatchTopProducts", { measure: 9 }, ["measure"]],
  ["AnalyticsService.WatchSalesSeries", { buckets: 1_441 }, ["buckets"]],
  ["OpsService.ListDeadLetters", { kind: "Order", pageSize: 501 }, ["kind", "page_size"]],
  ["OpsService.GetDeadLetter", { deadLetterId: "" }, ["dead_letter_id"]],
  ["OpsService.RedriveDeadLetter", { deadLetterId: BAD_ID }, ["dead_letter_id"]],
  ["OpsService.DiscardDeadLetter", { deadLetterId: "x", reason: LONG }, ["reason"]],
  ["OpsService.Reconcile", { timeout: { seconds: 26n } }, ["timeout"]],
  ["OpsService.ArchiveOrders", { olderThan: { seconds: 2_591_999n } }, ["older_than"]],
];

/** A request for something that is not there. */
export const ABSENT: readonly (readonly [string, object])[] = [
  ["OrderService.PlaceOrder", { ...orderOf("nothing") }],
  ["OrderService.GetOrder", { orderId: "ord_none" }],
  ["OrderService.CancelOrder", { orderId: "ord_none" }],
  ["OrderService.GetOrderHistory", { orderId: "ord_none" }],
  ["OrderService.WatchOrder", { orderId: "ord_none" }],
  ["CatalogService.GetProduct", { productId: "nothing" }],
  ["CatalogService.UpdateProduct", { productId: "nothing", product: { name: "x" } }],
  ["InventoryService.GetStock", { productId: "nothing" }],
  ["InventoryService.AdjustStock", { productId: "nothing", delta: 1n }],
  ["InventoryService.CheckAvailability", { lines: [line, { productId: "nothing", quantity: 1 }] }],
  ["InventoryService.WatchStock", { productIds: ["tea", "nothing"] }],
  ["PaymentService.GetPayment", { paymentId: "pay_none" }],
  ["PaymentService.GetPayment", { paymentId: "ord_none" }],
  ["PaymentService.PayOrder", { orderId: "ord_none", ...paidBy("tok_ok") }],
  ["PaymentService.RefundPayment", { paymentId: "pay_none" }],
  ["OpsService.GetDeadLetter", { deadLetterId: "none" }],
  ["OpsService.RedriveDeadLetter", { deadLetterId: "none" }],
  ["OpsService.DiscardDeadLetter", { deadLetterId: "none" }],
];
