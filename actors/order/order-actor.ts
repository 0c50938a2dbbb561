import type { Empty } from "@bufbuild/protobuf/wkt";
import {
  OrderActor,
  type CancelOrder,
  type HoldOutcome,
  type PaymentNotice,
  type PayOrder,
  type PlaceOrder,
  type RefundNotice,
} from "../../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import {
  OrderCancellingSchema,
  OrderCompensatingSchema,
  OrderExpiredSchema,
  OrderHeldSchema,
  OrderPaymentDeclinedSchema,
  OrderPaymentStartedSchema,
  OrderPlacedSchema,
  OrderRejectedSchema,
} from "../../proto/gen/tradewind/actors/order/v1/order_events_pb.ts";
import {
  LineStock,
  MoneyStep,
  OrderLineSchema,
  OrderReasonCode,
  OrderStateSchema,
  OrderStatus,
  Wait,
} from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { create, defineActor, DomainError } from "../runtime/index.ts";
import { DEFAULT_SETTINGS } from "../shared/settings.ts";
import { archive, paymentAtRest, reopen } from "./order-archive.ts";
import { bookCapture, bookRefund } from "./order-books.ts";
import { priceOrder } from "./order-pricing.ts";
import { dueMs, linesAnswered, nextStatus, statusName, type Trigger } from "./order-saga.ts";
import {
  armDeadline,
  because,
  confirm,
  happened,
  HELD,
  HOLD,
  holdLines,
  move,
  PAID,
  releaseLines,
  settle,
  SETTLED,
  startAttempt,
  touch,
  undo,
  type OrderContext,
} from "./order-steps.ts";

/** One order: holds stock line by line, has it paid, confirms it, and undoes whatever has to be undone. */
export const orderActor = defineActor(
  OrderActor,
  OrderStateSchema,
  {
    place,
    pay,
    cancel,
    holdSettled,
    paymentAuthorized,
    paymentDeclined,
    paymentUnknown,
    paymentCaptured,
    captureFailed,
    paymentRefunded,
    moneyClosed,
    deadlinePassed,
    holdNext,
    archive,
    paymentAtRest,
    reopen,
  },
  { creates: ["place"] },
);

/** @throws DomainError ALREADY_EXISTS, and what {@link priceOrder} throws. */
function place(ctx: OrderContext, message: PlaceOrder) {
  const { state, key, nowMs } = ctx;
  if (state.status !== OrderStatus.UNSPECIFIED) {
    throw DomainError.of("ALREADY_EXISTS", `order ${key} was placed before`, { resource: "order", id: key });
  }
  const { lines, subtotal, tax, total, currency } = priceOrder(message);
  const { customerId, channel, branchId, metadata, methodToken, settings, wait } = message;
  touch(ctx);
  move(ctx, "place");
  Object.assign(state, {
    subtotal,
    tax,
    total,
    currency,
    customerId,
    channel,
    branchId,
    metadata,
    methodToken,
    settings,
  });
  state.lines = lines.map((line) => create(OrderLineSchema, line));
  state.createdMs = BigInt(nowMs);
  state.attemptsMax = attemptsMaxOf(message);
  ctx.emit(OrderPlacedSchema, { ...happened(ctx), customerId, currency, total, lines: lines.length });
  ctx.list("orders", { customer_id: customerId });
  holdLines(ctx);
  armDeadline(ctx);
  if (wait !== Wait.HELD && wait !== Wait.SETTLED) return { order: state };
  state.wait = wait;
  return ctx.defer(wait === Wait.HELD ? HELD : SETTLED);
}

function attemptsMaxOf({ methodToken, settings }: PlaceOrder): number {
  if (methodToken === "") return settings?.paymentAttemptsMax || DEFAULT_SETTINGS.paymentAttemptsMax;
  return settings?.directPaymentAttemptsMax || DEFAULT_SETTINGS.directPaymentAttemptsMax;
}

/** @throws DomainError PAYMENT_IN_PROGRESS, INVALID_TRANSITION {from, to} */
function pay(ctx: OrderContext, { methodToken, wait }: PayOrder) {
  const { state, key } = ctx;
  const { status, reason, money } = state;
  const isUnknown =
    status === OrderStatus.COMPENSATING && reason?.code === OrderReasonCode.PAYMENT_UNAVAILABLE;
  if (money === MoneyStep.AUTHORIZING || isUnknown) {
    throw DomainError.of(
      "PAYMENT_IN_PROGRESS",
      `attempt ${state.attempts} to pay order ${key} has no outcome yet`,
    );
  }
  if (status !== OrderStatus.AWAITING_PAYMENT) throw notFrom(ctx, OrderStatus.CONFIRMED);
  touch(ctx);
  startAttempt(ctx, methodToken);
  ctx.emit(OrderPaymentStartedSchema, { ...happened(ctx), attempt: state.attempts });
  return wait ? ctx.defer(PAID) : { order: state };
}

/** Cancelling again changes nothing. @throws DomainError INVALID_TRANSITION {from, to}, NOT_FOUND in the archive */
function cancel(ctx: OrderContext, { reason: text }: CancelOrder) {
  const { state, key } = ctx;
  const { CANCELLING, CANCELLED } = OrderStatus;
  if (state.status === CANCELLING || state.status === CANCELLED) return { order: state };
  if (nextStatus(state.status, "cancel") === undefined) throw notFrom(ctx, CANCELLING);
  if (state.archivedMs !== 0n) {
    const details = { resource: "order", id: key };
    throw DomainError.of("NOT_FOUND", `order ${key} is archived: it can only be read`, details);
  }
  touch(ctx);
  end(ctx, "cancel", { code: OrderReasonCode.CANCEL_REQUESTED, text });
  return { order: state };
}

function notFrom({ state, key }: OrderContext, to: OrderStatus): DomainError {
  const metadata = { from: statusName(state.status), to: statusName(to) };
  return DomainError.of("INVALID_TRANSITION", `order ${key} is ${metadata.from}`, metadata);
}

const EVENT_OF_END = {
  refused: OrderRejectedSchema,
  declinedForGood: OrderRejectedSchema,
  deadline: OrderExpiredSchema,
  cancel: OrderCancellingSchema,
  unknown: OrderCompensatingSchema,
  captureFailed: OrderCompensatingSchema,
} as const;

/** Turns the order away from its goal and undoes what it has. */
function end(
  ctx: OrderContext,
  trigger: Trigger & keyof typeof EVENT_OF_END,
  reason: Parameters<typeof because>[1],
): void {
  if (!move(ctx, trigger)) return;
  because(ctx, reason);
  ctx.emit(EVENT_OF_END[trigger], happened(ctx));
  undo(ctx);
  settle(ctx);
}

function holdSettled(ctx: OrderContext, { held, refused, available }: HoldOutcome) {
  const { state } = ctx;
  touch(ctx);
  state.holding = false;
  const from = linesAnswered(state);
  for (const line of state.lines.slice(from, from + held)) line.stock = LineStock.HELD;
  const short = state.lines[from + held];
  if (state.status !== OrderStatus.PENDING) {
    releaseLines(ctx); // too late: what has been held goes back
    settle(ctx);
  } else if (refused && short !== undefined) {
    const { productId, quantity: requested, name } = short;
    const text = `${available} of ${requested} units of ${name} are available`;
    end(ctx, "refused", {
      code: OrderReasonCode.OUT_OF_STOCK,
      text,
      shortages: [{ productId, requested, available }],
    });
  } else if (short !== undefined) {
    ctx.timer(HOLD, 0, OrderActor.method.holdNext, {});
  } else {
    allHeld(ctx);
  }
  return {};
}

function holdNext(ctx: OrderContext) {
  if (ctx.state.status === OrderStatus.PENDING && !ctx.state.holding) holdLines(ctx);
  return {};
}

function allHeld(ctx: OrderContext): void {
  const { state } = ctx;
  const nowMs = BigInt(ctx.nowMs);
  const { reservationTtlMs, paymentDeadlineMs } = state.settings ?? {};
  state.heldMs = nowMs;
  if (state.total === 0n) {
    move(ctx, "heldForFree");
    confirm(ctx);
  } else {
    move(ctx, "held");
    state.holdExpiresMs = nowMs + (reservationTtlMs || DEFAULT_SETTINGS.reservationTtlMs);
    state.paymentDeadlineMs = nowMs + (paymentDeadlineMs || DEFAULT_SETTINGS.paymentDeadlineMs);
    const { methodToken } = state;
    state.methodToken = "";
    if (methodToken === "") armDeadline(ctx);
    else startAttempt(ctx, methodToken);
    const { holdExpiresMs } = state;
    ctx.emit(OrderHeldSchema, {
      ...happened(ctx),
      holdExpiresMs,
      paymentDeadlineMs: state.paymentDeadlineMs,
    });
  }
  settle(ctx);
}

function isCurrent({ state }: OrderContext, { attempt }: PaymentNotice): boolean {
  return state.money === MoneyStep.AUTHORIZING && state.attempts === attempt;
}

function paymentAuthorized(ctx: OrderContext, notice: PaymentNotice) {
  if (!isCurrent(ctx, notice) || !move(ctx, "authorized")) return {};
  touch(ctx);
  ctx.state.money = MoneyStep.AUTHORIZED;
  ctx.state.paymentStatus = notice.status;
  confirm(ctx);
  settle(ctx);
  return {};
}

function paymentDeclined(ctx: OrderContext, notice: PaymentNotice) {
  const { state } = ctx;
  if (!isCurrent(ctx, notice)) return {};
  const { attempt, code, text, status } = notice;
  touch(ctx);
  state.money = MoneyStep.UNSPECIFIED;
  state.paymentStatus = status;
  ctx.emit(OrderPaymentDeclinedSchema, { ...happened(ctx), attempt, code, text });
  const reason = {
    code: OrderReasonCode.PAYMENT_DECLINED,
    text: `attempt ${attempt} was declined: ${text || code}`,
  };
  if (state.attempts >= state.attemptsMax) {
    end(ctx, "declinedForGood", reason);
  } else {
    move(ctx, "declined");
    because(ctx, reason);
    armDeadline(ctx);
    settle(ctx);
  }
  return {};
}

/** The provider gave no definite answer: the order does not wait for it, and what was authorised is voided. */
function paymentUnknown(ctx: OrderContext, notice: PaymentNotice) {
  if (!isCurrent(ctx, notice)) return {};
  touch(ctx);
  ctx.state.paymentStatus = notice.status;
  const text = `attempt ${notice.attempt} got no definite answer: ${notice.text}`;
  end(ctx, "unknown", { code: OrderReasonCode.PAYMENT_UNAVAILABLE, text });
  return {};
}

/** Also when it comes late: what was charged is booked, and what an order that ended was charged is paid back. */
function paymentCaptured(ctx: OrderContext, { amount, status }: PaymentNotice) {
  const { state } = ctx;
  touch(ctx);
  state.paymentStatus = status;
  if (state.money === MoneyStep.CAPTURING) state.money = MoneyStep.CAPTURED;
  bookCapture(ctx, amount);
  settle(ctx);
  return {};
}

function captureFailed(ctx: OrderContext, { code, text, status }: PaymentNotice) {
  if (ctx.state.money !== MoneyStep.CAPTURING) return {};
  touch(ctx);
  ctx.state.paymentStatus = status;
  const isDeclined = code !== "";
  const reason = isDeclined ? OrderReasonCode.PAYMENT_DECLINED : OrderReasonCode.PAYMENT_UNAVAILABLE;
  end(ctx, "captureFailed", { code: reason, text: `the charge failed: ${text || code}` });
  return {};
}

function paymentRefunded(ctx: OrderContext, { refundId, amount, status }: RefundNotice) {
  touch(ctx);
  ctx.state.paymentStatus = status;
  bookRefund(ctx, refundId, amount);
  return {};
}

function moneyClosed(ctx: OrderContext, { status }: PaymentNotice) {
  const { state } = ctx;
  touch(ctx);
  state.paymentStatus = status;
  if (state.money === MoneyStep.CLOSING) state.money = MoneyStep.CLOSED;
  settle(ctx);
  return {};
}

/** The timer may be older than the deadline: then it is armed again. */
function deadlinePassed(ctx: OrderContext, _message: Empty) {
  const { state, nowMs } = ctx;
  state.armedMs = 0n;
  const due = dueMs(state, DEFAULT_SETTINGS.pendingDeadlineMs);
  if (due === 0n) return {};
  if (BigInt(nowMs) < due) {
    armDeadline(ctx);
    return {};
  }
  touch(ctx);
  const isPending = state.status === OrderStatus.PENDING;
  const isUnpaid = state.paymentDeadlineMs <= BigInt(nowMs);
  end(ctx, "deadline", {
    code: isPending
      ? OrderReasonCode.PENDING_DEADLINE
      : isUnpaid
        ? OrderReasonCode.PAYMENT_DEADLINE
        : OrderReasonCode.HOLD_EXPIRED,
    text: isPending
      ? "stock did not answer in time"
      : isUnpaid
        ? "not paid in time"
        : "the hold on the stock ran out",
  });
  return {};
}
