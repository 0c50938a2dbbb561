import { adjustmentActor } from "./adjustment/adjustment-actor.ts";
import { orderActor } from "./order/order-actor.ts";
import { paymentActor } from "./payment/payment-actor.ts";
import type { ActorDefinition } from "./runtime/index.ts";
import { stockActor } from "./stock/stock-actor.ts";

/** Every kind of actor that a worker runs. */
export const ACTORS: readonly ActorDefinition[] = [adjustmentActor, orderActor, paymentActor, stockActor];
