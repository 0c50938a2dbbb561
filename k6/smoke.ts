// Places one order for a product of the catalogue and waits until it is settled: `k6 run k6/smoke.ts`.
// BASE_URL is the gateway, http://localhost:8080 by default.
import { check, fail } from "k6";
import http from "k6/http";
import { Counter } from "k6/metrics";
import type {
  ListProductsRequestJson,
  ListProductsResponseJson,
} from "../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import type {
  PlaceOrderRequestJson,
  PlaceOrderResponseJson,
} from "../proto/gen/tradewind/order/v1/order_service_pb.ts";

const BASE_URL = __ENV["BASE_URL"] ?? "http://localhost:8080";
const ATTEMPT_TIMEOUT = "30s";

// A script error ends an iteration without failing anything, so the number of checks has a minimum of its own.
export const options = {
  scenarios: { smoke: { executor: "shared-iterations", vus: 1, iterations: 5 } },
  thresholds: { checks: ["rate==1"], orders_settled: ["count>=5"] },
};

const settled = new Counter("orders_settled");

function call<Request extends object, Response>(
  method: string,
  request: Request,
  idempotencyKey?: string,
): Response {
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (idempotencyKey !== undefined) headers["Idempotency-Key"] = idempotencyKey;
  const response = http.post(`${BASE_URL}/${method}`, JSON.stringify(request), {
    headers,
    timeout: ATTEMPT_TIMEOUT,
  });
  if (response.status !== 200) fail(`${method} answered ${response.status}: ${String(response.body)}`);
  return response.json() as Response;
}

/** The product every iteration orders. */
export function setup(): { productId: string } {
  const request: ListProductsRequestJson = { pageSize: 1 };
  const { products } = call<ListProductsRequestJson, ListProductsResponseJson>(
    "tradewind.catalog.v1.CatalogService/ListProducts",
    request,
  );
  const productId = products?.[0]?.id;
  if (productId === undefined) fail("the catalogue is empty: create a product and give it stock first");
  return { productId };
}

export default function placeOrder({ productId }: { productId: string }): void {
  const request: PlaceOrderRequestJson = {
    customerId: "k6-smoke",
    lines: [{ productId, quantity: 1 }],
    payment: { methodToken: "tok_ok" },
    wait: "WAIT_SETTLED",
    timeout: "20s",
  };
  const { order, waitReached } = call<PlaceOrderRequestJson, PlaceOrderResponseJson>(
    "tradewind.order.v1.OrderService/PlaceOrder",
    request,
    `k6-${Date.now()}-${__VU}-${__ITER}`,
  );
  const confirmed = check(order, {
    "the order is settled": () => waitReached === true,
    "the order is confirmed": (placed) => placed?.status === "ORDER_STATUS_CONFIRMED",
  });
  if (confirmed) settled.add(1);
}
