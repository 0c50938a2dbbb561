import { adjustmentActor } from "./adjustment/adjustment-actor.ts";
import { analyticsProjection } from "./analytics/analytics-projection.ts";
import { archiveActor } from "./archive/archive-actor.ts";
import { claimActor } from "./claim/claim-actor.ts";
import { orderActor } from "./order/order-actor.ts";
import { paymentActor } from "./payment/payment-actor.ts";
import { productActor } from "./product/product-actor.ts";
import type { ActorDefinition, ProjectionDefinition } from "./runtime/index.ts";
import { stockActor } from "./stock/stock-actor.ts";
import { tenantActor } from "./tenant/tenant-actor.ts";

/** Every kind of actor that a worker runs. */
export const ACTORS: readonly ActorDefinition[] = [
  adjustmentActor,
  archiveActor,
  claimActor,
  orderActor,
  paymentActor,
  productActor,
  stockActor,
  tenantActor,
];

/** Every kind whose records are computed from events. */
export const PROJECTIONS: readonly ProjectionDefinition[] = [analyticsProjection];
