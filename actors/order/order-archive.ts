import { clone } from "@bufbuild/protobuf";
import { ArchiveActor } from "../../proto/gen/tradewind/actors/archive/v1/archive_actor_pb.ts";
import type { ArchiveOrder, PaymentRest } from "../../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { OrderArchivedSchema } from "../../proto/gen/tradewind/actors/order/v1/order_events_pb.ts";
import {
  LineStock,
  MoneyStep,
  OrderStateSchema,
  OrderStatus,
  Wait,
  type OrderState,
} from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { PaymentActor } from "../../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import type { PaymentState } from "../../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import { sumsOf } from "../shared/archived-sums.ts";
import { ledgerFigures } from "../shared/order-figures.ts";
import { isFinal, isUndoing } from "./order-saga.ts";
import { happened, reopenArchived, type OrderContext } from "./order-steps.ts";

/** Starts to leave. Payment and ledger are in the same log: what follows is part of the same commit. */
export function archive(ctx: OrderContext, message: ArchiveOrder) {
  const { state, key } = ctx;
  if (!mayLeave(state, message.unchangedSinceMs)) return {};
  if (state.attempts === 0) leave(ctx, message, undefined);
  else ctx.send(PaymentActor.method.archive, key, askOf(message));
  return {};
}

/** The payment can leave: so does the order. Where the two disagree both stay, for Reconcile to show it. */
export function paymentAtRest(ctx: OrderContext, { payment, order }: PaymentRest) {
  const { state } = ctx;
  if (payment === undefined || order === undefined) return {};
  if (mayLeave(state, order.unchangedSinceMs) && agree(state, payment)) leave(ctx, order, payment);
  return {};
}

/** Something happened to the payment after it had left. */
export function reopen(ctx: OrderContext) {
  reopenArchived(ctx);
  return {};
}

/** True if nothing happens to the order any more unless somebody from outside wants it. */
function mayLeave(state: OrderState, unchangedSinceMs: bigint): boolean {
  const { status, money, wait, armedMs, archivedMs, updatedMs, lines } = state;
  const { UNSPECIFIED, CAPTURED, CLOSED } = MoneyStep;
  return (
    archivedMs === 0n &&
    updatedMs <= unchangedSinceMs &&
    (isFinal(status) || status === OrderStatus.CONFIRMED) &&
    [UNSPECIFIED, CAPTURED, CLOSED].some((step) => step === money) &&
    wait === Wait.UNSPECIFIED &&
    armedMs === 0n &&
    !isUndoing(state) &&
    !lines.some(({ stock }) => stock === LineStock.HELD)
  );
}

function agree({ status, total, captured, refunded }: OrderState, payment: PaymentState): boolean {
  if (payment.captured !== captured || payment.refunded !== refunded) return false;
  return status === OrderStatus.CONFIRMED ? captured === total : captured === refunded;
}

function askOf({ unchangedSinceMs, ledger, keepSeconds }: ArchiveOrder) {
  return { unchangedSinceMs, ledger, keepSeconds };
}

function leave(ctx: OrderContext, asked: ArchiveOrder, payment: PaymentState | undefined): void {
  const { state, key } = ctx;
  const { ledger, keepSeconds } = asked;
  const order = clone(OrderStateSchema, state);
  const archived = payment === undefined ? { order } : { order, payment };
  ctx.emit(OrderArchivedSchema, { status: state.status, atMs: happened(ctx).atMs, ...archived });
  ctx.send(ArchiveActor.method.add, ledger, { orders: 1n, sums: sumsOf(ledgerFigures(state), 1n) });
  state.archivedMs = BigInt(ctx.nowMs);
  state.ledger = ledger;
  ctx.expireAfter(keepSeconds);
  if (payment !== undefined) ctx.send(PaymentActor.method.leave, key, askOf(asked));
}
