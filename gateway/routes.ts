import { AnalyticsService } from "../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { CatalogService } from "../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import { InventoryService } from "../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { OpsService } from "../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { OrderService } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { PaymentService } from "../proto/gen/tradewind/payment/v1/payment_service_pb.ts";
import { analyticsService } from "./analytics-service.ts";
import { catalogService } from "./catalog-service.ts";
import { inventoryService } from "./inventory-service.ts";
import { type OpsDeps, opsService } from "./ops-service.ts";
import { orderService } from "./order-service.ts";
import { paymentService } from "./payment-service.ts";
import type { RpcTable } from "./rpc-table.ts";
import type { ServiceDeps } from "./service-deps.ts";

/** Every service of the API; none is registered elsewhere. */
export function registerServices(table: RpcTable, deps: ServiceDeps, ops: OpsDeps): void {
  table.add(OrderService, orderService(deps));
  table.add(CatalogService, catalogService(deps));
  table.add(InventoryService, inventoryService(deps));
  table.add(PaymentService, paymentService(deps));
  table.add(AnalyticsService, analyticsService(deps));
  table.add(OpsService, opsService(deps, ops));
}
