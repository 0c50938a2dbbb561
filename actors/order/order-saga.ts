import {
  LineStock,
  MoneyStep,
  OrderStatus,
  OrderStatusSchema,
  type OrderState,
} from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";

/** What moves an order from one status to the next. */
export type Trigger =
  | "place"
  | "held"
  | "heldForFree"
  | "refused"
  | "deadline"
  | "cancel"
  | "authorized"
  | "declined"
  | "declinedForGood"
  | "unknown"
  | "captureFailed"
  | "undone";

const { PENDING, AWAITING_PAYMENT, CONFIRMED, CANCELLING, CANCELLED } = OrderStatus;
const { REJECTED, EXPIRED, COMPENSATING, FAILED, UNSPECIFIED, COMPLETED } = OrderStatus;

/**
 * The lifecycle of an order. What is not in it does not happen: a trigger without a row is late, and what it brings is
 * given back.
 */
export const TRANSITIONS: Readonly<
  Partial<Record<OrderStatus, Readonly<Partial<Record<Trigger, OrderStatus>>>>>
> = {
  [UNSPECIFIED]: { place: PENDING },
  [PENDING]: {
    held: AWAITING_PAYMENT,
    heldForFree: CONFIRMED,
    refused: REJECTED,
    deadline: EXPIRED,
    cancel: CANCELLING,
  },
  [AWAITING_PAYMENT]: {
    authorized: CONFIRMED,
    declined: AWAITING_PAYMENT,
    declinedForGood: REJECTED,
    unknown: COMPENSATING,
    deadline: EXPIRED,
    cancel: CANCELLING,
  },
  [CONFIRMED]: { captureFailed: COMPENSATING, cancel: CANCELLING },
  [CANCELLING]: { undone: CANCELLED },
  [COMPENSATING]: { undone: FAILED },
};

const FINAL: ReadonlySet<OrderStatus> = new Set([REJECTED, EXPIRED, CANCELLED, FAILED, COMPLETED]);

/** The status that a trigger leads to, undefined if it leads nowhere from here. */
export function nextStatus(status: OrderStatus, trigger: Trigger): OrderStatus | undefined {
  return TRANSITIONS[status]?.[trigger];
}

/** True if the status never changes again. Holds and money may still be on their way back. */
export function isFinal(status: OrderStatus): boolean {
  return FINAL.has(status);
}

/** True if nothing happens any more without a request from outside: what `wait = SETTLED` waits for. */
export function isSettled({ status, money }: OrderState): boolean {
  if (status === AWAITING_PAYMENT) return money === MoneyStep.UNSPECIFIED;
  if (status === CONFIRMED) return money !== MoneyStep.CAPTURING;
  return isFinal(status);
}

/** True while an answer is owed: by stock, or by the payment that gives money back. */
export function isUndoing({ holding, money }: OrderState): boolean {
  return holding || money === MoneyStep.CLOSING;
}

/** Name of a status as in ErrorInfo metadata: `AWAITING_PAYMENT`. */
export function statusName(status: OrderStatus): string {
  return OrderStatusSchema.value[status]?.localName ?? String(status);
}

/** When the order is due to give up, in ms since 1970; 0 if it never is. */
export function dueMs(state: OrderState, pendingDeadlineMs: bigint): bigint {
  if (state.status === PENDING)
    return state.createdMs + (state.settings?.pendingDeadlineMs || pendingDeadlineMs);
  if (state.status !== AWAITING_PAYMENT) return 0n;
  const { holdExpiresMs, paymentDeadlineMs } = state;
  return paymentDeadlineMs < holdExpiresMs ? paymentDeadlineMs : holdExpiresMs;
}

/** Lines whose hold has been answered, in the order in which they are held. */
export function linesAnswered({ lines }: OrderState): number {
  const index = lines.findIndex(({ stock }) => stock === LineStock.UNSPECIFIED);
  return index < 0 ? lines.length : index;
}
