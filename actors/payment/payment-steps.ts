import { OrderActor } from "../../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import {
  PaymentActor,
  ProviderOperation,
} from "../../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import {
  CallStep,
  PaymentStatus,
  RefundSchema,
  RefundStatus,
  type PaymentAttempt,
  type PaymentState,
  type PaymentStateSchema,
  type Refund,
} from "../../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import { create, type ActorContext } from "../runtime/index.ts";
import { undoQueue } from "./payment-queues.ts";

export type PaymentContext = ActorContext<typeof PaymentStateSchema>;

/** Marks a change of the payment. */
export function touch(ctx: PaymentContext): void {
  const { state, nowMs } = ctx;
  reopenArchived(ctx);
  state.revision += 1n;
  state.updatedMs = BigInt(nowMs);
}

/** An archived payment that something happens to all the same comes back, and its order with it. */
export function reopenArchived(ctx: PaymentContext): void {
  const { state, key } = ctx;
  if (state.archivedMs === 0n) return;
  state.archivedMs = 0n;
  ctx.expireAfter(0);
  ctx.send(OrderActor.method.reopen, key, {});
}

/** True if nothing happens to the payment any more unless somebody from outside wants it. */
export function isAtRest(state: PaymentState): boolean {
  const attempt = state.attempts.at(-1);
  return attempt === undefined ? state.closed : !isOpen(state, attempt) && !isHanging(state, attempt);
}

/** True if the provider may hold money that is neither captured nor on its way back. */
function isHanging({ captured, closed }: PaymentState, { authorization }: PaymentAttempt): boolean {
  return captured === 0n && !closed && authorization !== CallStep.DECLINED;
}

/** Key of an attempt's authorisation at the provider. */
export function authorizationKey(orderId: string, attempt: PaymentAttempt): string {
  return `${orderId}:${attempt.number}`;
}

/** What can still be paid back. */
export function refundable({ captured, refunded, refunding }: PaymentState): bigint {
  return captured - refunded - refunding;
}

/** Status that follows from the amounts, once something is captured. */
export function statusOfAmounts({ authorized, captured, refunded }: PaymentState): PaymentStatus {
  if (refunded >= captured) return PaymentStatus.REFUNDED;
  if (refunded > 0n) return PaymentStatus.PARTIALLY_REFUNDED;
  return captured < authorized ? PaymentStatus.PARTIALLY_CAPTURED : PaymentStatus.CAPTURED;
}

/** Books a charge and tells the order, also when it comes late. */
export function booked(ctx: PaymentContext, attempt: PaymentAttempt, amount: bigint): void {
  const { state, key } = ctx;
  attempt.capture = CallStep.APPROVED;
  if (state.captured > 0n) return;
  state.captured = amount;
  if (state.authorized < amount) state.authorized = amount;
  state.status = statusOfAmounts(state);
  attempt.status = state.status;
  ctx.send(OrderActor.method.paymentCaptured, key, { attempt: attempt.number, status: state.status, amount });
}

/** Starts to pay back; repeated until it is done. */
export function startRefund(
  ctx: PaymentContext,
  amount: bigint,
  reason: string,
  compensating: boolean,
): Refund {
  const { state, key } = ctx;
  const attempt = state.attempts.at(-1);
  const id = ctx.id("ref");
  const call = {
    operation: ProviderOperation.REFUND,
    key: id,
    authorizationKey: attempt ? authorizationKey(key, attempt) : "",
    amount,
    currency: state.currency,
    compensating,
  };
  const taskId = ctx.task(undoQueue, call, PaymentActor.method.refundSettled);
  const createdMs = BigInt(ctx.nowMs);
  const refund = create(RefundSchema, {
    id,
    amount,
    reason,
    compensating,
    taskId,
    createdMs,
    status: RefundStatus.PENDING,
  });
  state.refunds.push(refund);
  state.refunding += amount;
  return refund;
}

/** True if the provider may hold an authorisation that nobody wants. */
function needsVoid({ captured }: PaymentState, { authorization, capture, voiding }: PaymentAttempt): boolean {
  if (captured > 0n || capture === CallStep.OPEN) return false;
  if (voiding === CallStep.OPEN || voiding === CallStep.APPROVED) return false;
  return authorization !== CallStep.DECLINED && authorization !== CallStep.UNSPECIFIED;
}

function isOpen({ refunding }: PaymentState, { authorization, capture, voiding }: PaymentAttempt): boolean {
  return refunding > 0n || [authorization, capture, voiding].includes(CallStep.OPEN);
}

/**
 * Brings a cancelled payment one step nearer to nothing charged and nothing authorised, and tells the order when it is
 * there. An authorisation under way is voided at once, by its key: the provider refuses it if it arrives later.
 */
export function close(ctx: PaymentContext): void {
  const { state, key } = ctx;
  const attempt = state.attempts.at(-1);
  if (attempt !== undefined) {
    if (refundable(state) > 0n) startRefund(ctx, refundable(state), "the order was undone", true);
    if (needsVoid(state, attempt)) startVoid(ctx, attempt);
    state.closed = !isOpen(state, attempt);
    if (!state.closed) return;
  }
  state.closed = true;
  if (state.captured === 0n && state.status !== PaymentStatus.DECLINED) state.status = PaymentStatus.VOIDED;
  ctx.send(OrderActor.method.moneyClosed, key, { attempt: state.attempts.length, status: state.status });
}

function startVoid(ctx: PaymentContext, attempt: PaymentAttempt): void {
  const { state, key } = ctx;
  attempt.voiding = CallStep.OPEN;
  const call = {
    operation: ProviderOperation.VOID,
    authorizationKey: authorizationKey(key, attempt),
    amount: state.amount,
    currency: state.currency,
    compensating: true,
  };
  ctx.task(undoQueue, call, PaymentActor.method.voidSettled);
}
