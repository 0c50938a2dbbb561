import { clone } from "@bufbuild/protobuf";
import { OrderActor } from "../../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import {
  PaymentActor,
  ProviderOperation,
  type ArchivePayment,
  type AuthorizePayment,
  type CancelPayment,
  type CapturePayment,
  type ProviderResult,
  type RefundPayment,
} from "../../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import {
  CallStep,
  PaymentAttemptSchema,
  PaymentStateSchema,
  PaymentStatus,
  RefundStatus,
  type PaymentAttempt,
} from "../../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import { create, defineActor, DomainError } from "../runtime/index.ts";
import { authorizeQueue, captureQueue } from "./payment-queues.ts";
import { ALREADY_CAPTURED } from "./provider.ts";
import {
  authorizationKey,
  booked,
  close,
  isAtRest,
  refundable,
  reopenArchived,
  startRefund,
  statusOfAmounts,
  touch,
  type PaymentContext,
} from "./payment-steps.ts";

/** Most refunds that one payment takes from outside. */
export const REFUNDS_MAX = 50;

/** The money side of one order: what was asked of the provider, and what came of it. */
export const paymentActor = defineActor(
  PaymentActor,
  PaymentStateSchema,
  {
    authorize,
    capture,
    cancel,
    refund,
    authorizeSettled,
    captureSettled,
    voidSettled,
    refundSettled,
    archive,
    leave,
    reopen,
  },
  { creates: ["authorize", "cancel"] },
);

function open(ctx: PaymentContext): void {
  if (ctx.state.createdMs === 0n) ctx.state.createdMs = BigInt(ctx.nowMs);
}

function authorize(
  ctx: PaymentContext,
  { attempt: number, amount, currency, customerId, methodToken }: AuthorizePayment,
) {
  const { state, key } = ctx;
  touch(ctx);
  if (state.attempts.length === 0) {
    open(ctx);
    Object.assign(state, { amount, currency, customerId });
    ctx.list("payments", { order_id: key, customer_id: customerId });
  }
  if (state.cancelled) {
    close(ctx); // the cancellation came first: nothing is ever authorised
    return {};
  }
  const attempt = create(PaymentAttemptSchema, {
    number,
    methodToken,
    status: PaymentStatus.AUTHORIZING,
    startedMs: BigInt(ctx.nowMs),
    authorization: CallStep.OPEN,
  });
  state.attempts.push(attempt);
  state.status = PaymentStatus.AUTHORIZING;
  const call = {
    operation: ProviderOperation.AUTHORIZE,
    key: authorizationKey(key, attempt),
    amount,
    currency,
    methodToken,
  };
  ctx.task(authorizeQueue, call, PaymentActor.method.authorizeSettled);
  return {};
}

function lastAttempt({ state, key }: PaymentContext): PaymentAttempt {
  const attempt = state.attempts.at(-1);
  if (attempt === undefined) throw new Error(`payment ${key} has no attempt`);
  return attempt;
}

function authorizeSettled(
  ctx: PaymentContext,
  { approved, providerRef, expiresMs, code, text }: ProviderResult,
) {
  const { state, key, outcome } = ctx;
  const attempt = lastAttempt(ctx);
  const isDefinite = outcome?.status === "done";
  touch(ctx);
  attempt.finishedMs = BigInt(ctx.nowMs);
  attempt.authorization = !isDefinite ? CallStep.UNKNOWN : approved ? CallStep.APPROVED : CallStep.DECLINED;
  if (attempt.authorization === CallStep.APPROVED) {
    attempt.status = PaymentStatus.AUTHORIZED;
    attempt.providerRef = state.providerRef = providerRef;
    state.authorized = state.amount;
    state.authExpiresMs = expiresMs;
    if (attempt.voiding === CallStep.APPROVED) attempt.voiding = CallStep.UNSPECIFIED; // voided too early: again
  } else {
    attempt.status = isDefinite ? PaymentStatus.DECLINED : PaymentStatus.UNKNOWN;
    attempt.failureCode = isDefinite ? code : "no_answer";
    attempt.failureText = isDefinite ? text : (outcome?.error ?? "");
  }
  if (state.captured === 0n) state.status = attempt.status;
  if (state.cancelled) {
    close(ctx);
    return {};
  }
  const notice = {
    attempt: attempt.number,
    status: state.status,
    code: attempt.failureCode,
    text: attempt.failureText,
  };
  if (attempt.authorization === CallStep.APPROVED) ctx.send(OrderActor.method.paymentAuthorized, key, notice);
  else if (isDefinite) ctx.send(OrderActor.method.paymentDeclined, key, notice);
  else ctx.send(OrderActor.method.paymentUnknown, key, notice);
  return {};
}

function capture(ctx: PaymentContext, { amount }: CapturePayment) {
  const { state, key } = ctx;
  const attempt = lastAttempt(ctx);
  if (state.cancelled || attempt.capture !== CallStep.UNSPECIFIED) return {};
  touch(ctx);
  attempt.capture = CallStep.OPEN;
  const authorization = authorizationKey(key, attempt);
  const call = {
    operation: ProviderOperation.CAPTURE,
    key: `${authorization}:capture`,
    authorizationKey: authorization,
    amount,
    currency: state.currency,
  };
  ctx.task(captureQueue, call, PaymentActor.method.captureSettled);
  return {};
}

function captureSettled(ctx: PaymentContext, { approved, code, text }: ProviderResult) {
  const { state, key, outcome } = ctx;
  const attempt = lastAttempt(ctx);
  const isDefinite = outcome?.status === "done";
  touch(ctx);
  if (isDefinite && approved) {
    booked(ctx, attempt, state.amount);
  } else {
    attempt.capture = isDefinite ? CallStep.DECLINED : CallStep.UNKNOWN;
    attempt.failureCode = isDefinite ? code : "no_answer";
    attempt.failureText = isDefinite ? text : (outcome?.error ?? "");
    if (!isDefinite) attempt.status = state.status = PaymentStatus.UNKNOWN;
    const notice = {
      attempt: attempt.number,
      status: state.status,
      text: attempt.failureText,
      ...(isDefinite && { code }),
    };
    if (!state.cancelled) ctx.send(OrderActor.method.captureFailed, key, notice);
  }
  if (state.cancelled) close(ctx);
  return {};
}

/** Before the first attempt it is remembered: an attempt that comes later is refused. */
function cancel(ctx: PaymentContext, _message: CancelPayment) {
  touch(ctx);
  open(ctx);
  ctx.state.cancelled = true;
  close(ctx);
  return {};
}

function voidSettled(ctx: PaymentContext, { approved, code }: ProviderResult) {
  const { state, key, outcome } = ctx;
  const attempt = lastAttempt(ctx);
  if (outcome?.status !== "done") return {};
  if (!approved && code !== ALREADY_CAPTURED)
    throw new Error(`the void of payment ${key} was declined: ${code}`);
  touch(ctx);
  attempt.voiding = approved ? CallStep.APPROVED : CallStep.DECLINED;
  if (approved) {
    state.authorized = 0n;
    attempt.status = state.status = PaymentStatus.VOIDED;
  } else {
    booked(ctx, attempt, state.amount);
  }
  close(ctx);
  return {};
}

/**
 * Pays back a part, or with amount 0 all that is left; from outside.
 * @throws DomainError REFUND_EXCEEDS_CAPTURED {refundable}, CURRENCY_MISMATCH, LIMIT_EXCEEDED, NOT_FOUND in the archive
 */
function refund(ctx: PaymentContext, { amount: asked, currency, reason }: RefundPayment) {
  const { state, key } = ctx;
  if (state.archivedMs !== 0n) {
    const details = { resource: "payment", id: key };
    throw DomainError.of("NOT_FOUND", `payment ${key} is archived: it can only be read`, details);
  }
  if (currency !== "" && currency !== state.currency) {
    const metadata = { expected: state.currency, actual: currency };
    throw DomainError.of(
      "CURRENCY_MISMATCH",
      `payment ${key} is in ${state.currency}, not ${currency}`,
      metadata,
    );
  }
  const left = refundable(state);
  const amount = asked === 0n ? left : asked;
  if (amount <= 0n || amount > left) {
    const text = `${left} minor units of payment ${key} can be refunded, not ${amount}`;
    throw DomainError.of("REFUND_EXCEEDS_CAPTURED", text, {
      refundable: String(left),
      currency: state.currency,
    });
  }
  if (state.refunds.length >= REFUNDS_MAX) {
    const text = `payment ${key} has ${REFUNDS_MAX} refunds, no more are taken`;
    throw DomainError.of("LIMIT_EXCEEDED", text, { limit: String(REFUNDS_MAX) });
  }
  touch(ctx);
  return { refund: startRefund(ctx, amount, reason, false), payment: state };
}

function refundSettled(ctx: PaymentContext, { approved, providerRef, code }: ProviderResult) {
  const { state, key, outcome } = ctx;
  const refunded = state.refunds.find(({ taskId }) => taskId === outcome?.taskId);
  if (refunded === undefined || refunded.status !== RefundStatus.PENDING || outcome?.status !== "done")
    return {};
  touch(ctx);
  const { id: refundId, amount } = refunded;
  refunded.status = approved ? RefundStatus.SUCCEEDED : RefundStatus.FAILED;
  refunded.finishedMs = BigInt(ctx.nowMs);
  refunded.providerRef = providerRef;
  refunded.failureCode = code;
  state.refunding -= amount;
  if (approved) {
    state.refunded += amount;
    state.status = statusOfAmounts(state);
    ctx.send(OrderActor.method.paymentRefunded, key, { refundId, amount, status: state.status });
  }
  if (state.cancelled) close(ctx);
  return {};
}

/** The order wants to leave for the archive. */
function archive(ctx: PaymentContext, order: ArchivePayment) {
  const { state, key } = ctx;
  if (state.updatedMs > order.unchangedSinceMs || !isAtRest(state)) return {};
  const { unchangedSinceMs, ledger, keepSeconds } = order;
  const payment = clone(PaymentStateSchema, state);
  const asked = { unchangedSinceMs, ledger, keepSeconds };
  ctx.send(OrderActor.method.paymentAtRest, key, { payment, order: asked });
  return {};
}

/** The order has left. */
function leave(ctx: PaymentContext, { keepSeconds }: ArchivePayment) {
  ctx.state.archivedMs = BigInt(ctx.nowMs);
  ctx.expireAfter(keepSeconds);
  return {};
}

function reopen(ctx: PaymentContext) {
  reopenArchived(ctx);
  return {};
}
