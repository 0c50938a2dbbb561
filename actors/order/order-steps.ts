import type { MessageInitShape } from "@bufbuild/protobuf";
import { ArchiveActor } from "../../proto/gen/tradewind/actors/archive/v1/archive_actor_pb.ts";
import { OrderActor } from "../../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import {
  OrderCancelledSchema,
  OrderConfirmedSchema,
  OrderFailedSchema,
} from "../../proto/gen/tradewind/actors/order/v1/order_events_pb.ts";
import {
  LineStock,
  MoneyStep,
  OrderReasonSchema,
  OrderStatus,
  Wait,
  type OrderStateSchema,
} from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { PaymentActor } from "../../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { PaymentStatus } from "../../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import { StockActor } from "../../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { create, type ActorContext } from "../runtime/index.ts";
import { sumsOf } from "../shared/archived-sums.ts";
import { ledgerFigures } from "../shared/order-figures.ts";
import { DEFAULT_SETTINGS } from "../shared/settings.ts";
import { bookCapture, bookReturn } from "./order-books.ts";
import {
  dueMs,
  isFinal,
  isSettled,
  isUndoing,
  linesAnswered,
  nextStatus,
  type Trigger,
} from "./order-saga.ts";

export type OrderContext = ActorContext<typeof OrderStateSchema>;

export const DEADLINE = "deadline";
export const HOLD = "hold";
/** Tags of deferred replies. */
export const HELD = "HELD";
export const SETTLED = "SETTLED";
export const PAID = "PAID";

/** Lines held in one go from stock to stock, so that the chain of messages stays below the runtime's causal depth. */
const SEGMENT_LINES_MAX = 48;

/** Marks a change of the order. */
export function touch(ctx: OrderContext): void {
  const { state, nowMs } = ctx;
  reopenArchived(ctx);
  state.revision += 1n;
  state.updatedMs = BigInt(nowMs);
}

/** An archived order that something happens to all the same comes back, and its figures leave the ledger. */
export function reopenArchived(ctx: OrderContext): void {
  const { state, key } = ctx;
  if (state.archivedMs === 0n) return;
  const sums = sumsOf(ledgerFigures(state), -1n);
  ctx.send(ArchiveActor.method.add, state.ledger, { orders: -1n, sums });
  if (state.attempts > 0) ctx.send(PaymentActor.method.reopen, key, {});
  state.archivedMs = 0n;
  state.ledger = "";
  ctx.expireAfter(0);
}

/** Moves the order along. False if the trigger means nothing here any more: it is late. */
export function move(ctx: OrderContext, trigger: Trigger): boolean {
  const next = nextStatus(ctx.state.status, trigger);
  if (next === undefined) return false;
  ctx.state.status = next;
  if (isFinal(next) && ctx.state.closedMs === 0n) ctx.state.closedMs = BigInt(ctx.nowMs);
  return true;
}

export function because(ctx: OrderContext, reason: MessageInitShape<typeof OrderReasonSchema>): void {
  ctx.state.reason = create(OrderReasonSchema, reason);
}

/** Status, time and reason, as most events have them. */
export function happened({ state, nowMs }: OrderContext) {
  const { status, reason } = state;
  return { status, atMs: BigInt(nowMs), ...(reason && { reason }) };
}

/** Arms the one deadline timer, unless it fires early enough anyway: then it is armed again when it fires. */
export function armDeadline(ctx: OrderContext): void {
  const { state } = ctx;
  const due = dueMs(state, DEFAULT_SETTINGS.pendingDeadlineMs);
  if (due === 0n || (state.armedMs !== 0n && state.armedMs <= due)) return;
  state.armedMs = due;
  ctx.timer(DEADLINE, Math.max(0, Number(due) - ctx.nowMs), OrderActor.method.deadlinePassed, {});
}

function disarm(ctx: OrderContext): void {
  const { state } = ctx;
  ctx.cancelTimer(DEADLINE);
  state.armedMs = 0n;
  state.holdExpiresMs = 0n;
  state.paymentDeadlineMs = 0n;
}

/** Sends the next lines on their way from stock to stock, in product id order. */
export function holdLines(ctx: OrderContext): void {
  const { state, key } = ctx;
  const from = linesAnswered(state);
  const segment = state.lines.slice(from, from + SEGMENT_LINES_MAX);
  const lines = segment.map(({ productId, quantity }) => ({ productId, quantity }));
  const [first] = lines;
  if (first === undefined) return;
  state.holding = true;
  ctx.send(StockActor.method.hold, first.productId, { orderId: key, lines, held: 0 });
}

/** Starts an attempt; while it is under way the hold lasts at least as long as the payment may take. */
export function startAttempt(ctx: OrderContext, methodToken: string): void {
  const { state, key } = ctx;
  const { total: amount, currency, customerId } = state;
  const fresh = state.attempts === 0;
  state.attempts += 1;
  state.money = MoneyStep.AUTHORIZING;
  state.paymentStatus = PaymentStatus.AUTHORIZING;
  if (state.holdExpiresMs < state.paymentDeadlineMs) state.holdExpiresMs = state.paymentDeadlineMs;
  const message = { attempt: state.attempts, amount, currency, customerId, methodToken };
  ctx.send(PaymentActor.method.authorize, key, message, { fresh });
  armDeadline(ctx);
}

/** The order is the customer's: its goods are sold, its money is charged. */
export function confirm(ctx: OrderContext): void {
  const { state, key } = ctx;
  state.confirmedMs = BigInt(ctx.nowMs);
  delete state.reason;
  disarm(ctx);
  for (const line of state.lines) {
    line.stock = LineStock.COMMITTED;
    ctx.send(StockActor.method.commit, line.productId, { quantity: line.quantity });
  }
  ctx.emit(OrderConfirmedSchema, { ...happened(ctx), attempt: state.attempts });
  if (state.money !== MoneyStep.AUTHORIZED) {
    bookCapture(ctx, 0n);
  } else if (state.settings?.autoCapture ?? DEFAULT_SETTINGS.autoCapture) {
    state.money = MoneyStep.CAPTURING;
    ctx.send(PaymentActor.method.capture, key, { amount: state.total });
  }
}

/**
 * Undoes whatever the order has, last step first: the money, then the stock line by line. Nothing here waits for the
 * other: stock comes back even while the provider cannot be reached. What is still on its way is given back when it
 * arrives.
 */
export function undo(ctx: OrderContext): void {
  const { state, key } = ctx;
  const { UNSPECIFIED, CLOSING, CLOSED } = MoneyStep;
  if (state.money !== UNSPECIFIED && state.money !== CLOSING && state.money !== CLOSED) {
    state.money = CLOSING;
    ctx.send(PaymentActor.method.cancel, key, { reason: state.reason?.text ?? "" });
  }
  releaseLines(ctx);
  disarm(ctx);
  ctx.cancelTimer(HOLD);
  state.methodToken = "";
}

/** Gives back all units that the order has, in reverse order. */
export function releaseLines(ctx: OrderContext): void {
  for (const line of ctx.state.lines.toReversed()) {
    const { productId, quantity } = line;
    if (line.stock === LineStock.HELD) {
      line.stock = LineStock.RELEASED;
      ctx.send(StockActor.method.release, productId, { quantity });
    } else if (line.stock === LineStock.COMMITTED) {
      line.stock = LineStock.RETURNED;
      ctx.send(StockActor.method.restock, productId, { quantity });
    }
  }
  bookReturn(ctx);
}

/** Ends a cancellation or compensation once nothing is open, and answers whoever waits for as much as there is now. */
export function settle(ctx: OrderContext): void {
  const { state } = ctx;
  if (!isUndoing(state) && move(ctx, "undone")) {
    if (state.status === OrderStatus.CANCELLED) ctx.emit(OrderCancelledSchema, happened(ctx));
    else ctx.emit(OrderFailedSchema, happened(ctx));
  }
  const isHeld = state.status !== OrderStatus.PENDING;
  const settled = isSettled(state);
  if ((state.wait === Wait.HELD && isHeld) || (state.wait === Wait.SETTLED && settled)) {
    const tag = state.wait === Wait.HELD ? HELD : SETTLED;
    state.wait = Wait.UNSPECIFIED;
    ctx.resolve(tag, OrderActor.method.place, { order: state });
  }
  if (settled && state.attempts > 0) ctx.resolve(PAID, OrderActor.method.pay, { order: state });
}
