import {
  MoneyStep,
  type OrderState,
  OrderStatus,
} from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { Wait } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";

const FINAL: ReadonlySet<OrderStatus> = new Set([
  OrderStatus.REJECTED,
  OrderStatus.EXPIRED,
  OrderStatus.CANCELLED,
  OrderStatus.FAILED,
  OrderStatus.COMPLETED,
]);

/** Nothing happens to the order any more. */
export function isFinal({ status }: OrderState): boolean {
  return FINAL.has(status);
}

/** Nothing happens to the order by itself: paid for, waiting for another attempt to pay, or final. */
export function isSettled(state: OrderState): boolean {
  if (state.status === OrderStatus.AWAITING_PAYMENT) return state.money === MoneyStep.UNSPECIFIED;
  if (state.status === OrderStatus.CONFIRMED) return state.money !== MoneyStep.CAPTURING;
  return isFinal(state);
}

/** Whether the order got as far as a caller wants to wait. */
export function hasReached(state: OrderState, wait: Wait): boolean {
  if (wait === Wait.HELD) return state.status !== OrderStatus.PENDING;
  return wait !== Wait.SETTLED || isSettled(state);
}
