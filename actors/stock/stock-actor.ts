import {
  StockActor,
  StockAdjustedSchema,
  StockLowSchema,
  StockStateSchema,
} from "../../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import type {
  AdjustUnits,
  ConfigureStock,
  HoldLines,
  OpenStock,
  StockState,
  StockUnits,
} from "../../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import {
  AdjustmentActor,
  AdjustmentStatus,
} from "../../proto/gen/tradewind/actors/adjustment/v1/adjustment_actor_pb.ts";
import { OrderActor } from "../../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { defineActor, type ActorContext } from "../runtime/index.ts";
import { AMOUNT_MAX } from "../shared/money.ts";

type StockContext = ActorContext<typeof StockStateSchema>;

/** Stock of one product: counters alone, since each message comes exactly once. Key: product id. */
export const stockActor = defineActor(
  StockActor,
  StockStateSchema,
  { open, configure, hold, release, commit, restock, adjust },
  { creates: ["open", "configure", "hold", "adjust"] },
);

function availableOf({ onHand, reserved, safetyStock }: StockState): bigint {
  return onHand - reserved - safetyStock;
}

function touch({ state, nowMs }: StockContext): void {
  state.revision += 1n;
  state.updatedMs = BigInt(nowMs);
}

/** Tells once when available falls to the threshold. */
function watchLow(ctx: StockContext, before: bigint): void {
  const available = availableOf(ctx.state);
  const { lowStockThreshold } = ctx.state;
  if (before <= lowStockThreshold || available > lowStockThreshold) return;
  ctx.emit(StockLowSchema, { atMs: BigInt(ctx.nowMs), available, lowStockThreshold });
}

function open(ctx: StockContext, { onHand, safetyStock, lowStockThreshold }: OpenStock) {
  const { state } = ctx;
  if (state.opened) return {};
  touch(ctx);
  state.opened = true;
  state.onHand += onHand;
  state.received += onHand;
  state.safetyStock = safetyStock;
  state.lowStockThreshold = lowStockThreshold;
  return {};
}

function configure(ctx: StockContext, { safetyStock, lowStockThreshold }: ConfigureStock) {
  touch(ctx);
  ctx.state.safetyStock = safetyStock;
  ctx.state.lowStockThreshold = lowStockThreshold;
  return {};
}

/** Holds one line and sends the rest on to the next product's stock; the last line and a refusal answer the order. */
function hold(ctx: StockContext, { orderId, lines, held }: HoldLines) {
  const { state } = ctx;
  const [line, ...rest] = lines;
  const available = state.opened ? availableOf(state) : 0n;
  if (line === undefined || available < BigInt(line.quantity)) {
    state.refused += 1n;
    ctx.send(OrderActor.method.holdSettled, orderId, {
      held,
      refused: true,
      available: available < 0n ? 0n : available,
    });
    return {};
  }
  touch(ctx);
  state.reserved += BigInt(line.quantity);
  watchLow(ctx, available);
  const [next] = rest;
  if (next === undefined) ctx.send(OrderActor.method.holdSettled, orderId, { held: held + 1 });
  else ctx.send(StockActor.method.hold, next.productId, { orderId, lines: rest, held: held + 1 });
  return {};
}

function release(ctx: StockContext, { quantity }: StockUnits) {
  touch(ctx);
  ctx.state.reserved -= BigInt(quantity);
  return {};
}

/** The hold becomes a sale. Always succeeds: available does not change by it. */
function commit(ctx: StockContext, { quantity }: StockUnits) {
  const { state } = ctx;
  touch(ctx);
  state.reserved -= BigInt(quantity);
  state.onHand -= BigInt(quantity);
  state.sold += BigInt(quantity);
  return {};
}

function restock(ctx: StockContext, { quantity }: StockUnits) {
  const { state } = ctx;
  touch(ctx);
  state.onHand += BigInt(quantity);
  state.returned += BigInt(quantity);
  return {};
}

function adjust(ctx: StockContext, { adjustmentId, delta, force, reason }: AdjustUnits) {
  const { state } = ctx;
  const before = availableOf(state);
  const answer = (status: AdjustmentStatus) =>
    ctx.send(AdjustmentActor.method.settled, adjustmentId, {
      status,
      available: availableOf(state),
      stock: state,
    });
  if (!state.opened) {
    answer(AdjustmentStatus.NO_PRODUCT);
    return {};
  }
  const onHand = state.onHand + delta;
  if (onHand > AMOUNT_MAX || onHand < -AMOUNT_MAX) {
    answer(AdjustmentStatus.OUT_OF_RANGE);
    return {};
  }
  if (delta < 0n && before + delta < 0n && !force) {
    answer(AdjustmentStatus.INSUFFICIENT);
    return {};
  }
  touch(ctx);
  state.onHand = onHand;
  state.received += delta;
  ctx.emit(StockAdjustedSchema, {
    atMs: BigInt(ctx.nowMs),
    adjustmentId,
    delta,
    onHand,
    reason,
    forced: force,
  });
  watchLow(ctx, before);
  answer(AdjustmentStatus.APPLIED);
  return {};
}
