import type { ActorContext } from "../runtime/index.ts";
import {
  OrderCapturedSchema,
  OrderRefundedSchema,
  OrderReturnedSchema,
} from "../../proto/gen/tradewind/actors/order/v1/order_events_pb.ts";
import {
  LineStock,
  type OrderLine,
  type OrderStateSchema,
} from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { divideHalfUp, spreadByLargestRemainder } from "../shared/money.ts";

type OrderContext = ActorContext<typeof OrderStateSchema>;

function grossOf({ lineTotal, tax }: OrderLine): bigint {
  return lineTotal + tax;
}

function who({ state, nowMs }: OrderContext) {
  const { status, customerId, currency } = state;
  return { status, atMs: BigInt(nowMs), customerId, currency };
}

/** Books the sale: its event has all that the totals need. */
export function bookCapture(ctx: OrderContext, amount: bigint): void {
  const { state } = ctx;
  state.captured += amount;
  if (state.capturedMs !== 0n) return;
  state.capturedMs = BigInt(ctx.nowMs);
  const lines = state.lines.map((line) => {
    const { productId, name, quantity, lineTotal } = line;
    return { productId, name, quantity, gross: grossOf(line), net: lineTotal };
  });
  ctx.emit(OrderCapturedSchema, { ...who(ctx), amount, lines });
  bookReturn(ctx);
}

/** Books units of a sale as returned, once, when both have happened: they were sold, and they are back in stock. */
export function bookReturn(ctx: OrderContext): void {
  const { state } = ctx;
  if (state.capturedMs === 0n || state.returnedMs !== 0n) return;
  const back = state.lines.filter(
    ({ stock }) => stock === LineStock.RETURNED || stock === LineStock.RELEASED,
  );
  if (back.length === 0) return;
  state.returnedMs = BigInt(ctx.nowMs);
  const lines = back.map(({ productId, quantity }) => ({ productId, quantity }));
  ctx.emit(OrderReturnedSchema, { ...who(ctx), lines });
}

/**
 * Books a refund: spread over what is left of the lines by largest remainder. The part without tax follows the sum of
 * all refunds of a line, so that refunds which add up to the line add up to its price too.
 */
export function bookRefund(ctx: OrderContext, refundId: string, amount: bigint): void {
  const { state } = ctx;
  const left = state.lines.map((line) => grossOf(line) - line.refundedGross);
  const shares = spreadByLargestRemainder(amount, left);
  const lines = state.lines.flatMap((line, index) => {
    const gross = shares[index] ?? 0n;
    if (gross === 0n) return [];
    line.refundedGross += gross;
    const netBefore = line.refundedNet;
    line.refundedNet = divideHalfUp(line.refundedGross * line.lineTotal, grossOf(line));
    return [{ productId: line.productId, gross, net: line.refundedNet - netBefore }];
  });
  const atMs = BigInt(ctx.nowMs);
  state.refunded += amount;
  state.refunds.push({ $typeName: "tradewind.actors.order.v1.BookedRefund", refundId, amount, atMs });
  ctx.emit(OrderRefundedSchema, { ...who(ctx), refundId, amount, lines });
}
