import {
  AdjustmentActor,
  AdjustmentStateSchema,
  AdjustmentStatus,
  type AdjustmentOutcome,
  type AdjustStock,
} from "../../proto/gen/tradewind/actors/adjustment/v1/adjustment_actor_pb.ts";
import { StockActor } from "../../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { defineActor, DomainError, type ActorContext } from "../runtime/index.ts";

type AdjustmentContext = ActorContext<typeof AdjustmentStateSchema>;

/** Adjustments are kept this long after they are settled: the life of their idempotency keys. */
const TTL_SECONDS = 30 * 86_400;
const APPLIED = "APPLIED";

/** One change of stock by hand: takes the request so that the stock itself remembers none. Key: adjustment id. */
export const adjustmentActor = defineActor(
  AdjustmentActor,
  AdjustmentStateSchema,
  { adjust, settled },
  { creates: ["adjust"] },
);

/** @throws DomainError ALREADY_EXISTS if the key was used for another adjustment. */
function adjust(ctx: AdjustmentContext, { productId, delta, force, reason }: AdjustStock) {
  const { state, key } = ctx;
  if (state.status !== AdjustmentStatus.UNSPECIFIED) {
    throw DomainError.of("ALREADY_EXISTS", `adjustment ${key} was made before`, {
      resource: "adjustment",
      id: key,
    });
  }
  state.status = AdjustmentStatus.PENDING;
  state.productId = productId;
  state.delta = delta;
  state.force = force;
  state.reason = reason;
  state.createdMs = BigInt(ctx.nowMs);
  ctx.send(StockActor.method.adjust, productId, { adjustmentId: key, delta, force, reason });
  return ctx.defer(APPLIED);
}

function settled(ctx: AdjustmentContext, { status, available, stock }: AdjustmentOutcome) {
  ctx.state.status = status;
  ctx.resolve(APPLIED, AdjustmentActor.method.adjust, { status, available, ...(stock && { stock }) });
  ctx.expireAfter(TTL_SECONDS);
  return {};
}
