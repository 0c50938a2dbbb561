import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { LineStock, type OrderState } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import type {
  PaymentState,
  Refund as RefundRecord,
} from "../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import type { ProductState } from "../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import type { StockState } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import type { ProductSchema } from "../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import type { StockSchema } from "../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { type Order, type OrderLineSchema, OrderSchema } from "../proto/gen/tradewind/order/v1/order_pb.ts";
import type { PaymentSchema, RefundSchema } from "../proto/gen/tradewind/payment/v1/payment_pb.ts";

// Records as callers see them. Pure; the numbers of the enums on both sides are the same by design.

/** An amount on the wire. */
export function money(
  currencyCode: string,
  minorUnits: bigint,
): { currencyCode: string; minorUnits: bigint } {
  return { currencyCode, minorUnits };
}

/** A time on the wire; 0 is none. */
export function stamp(ms: bigint): Timestamp | undefined {
  return ms === 0n ? undefined : timestampFromMs(Number(ms));
}

/** A revision as an opaque text. */
export function etagOf(revision: bigint): string {
  return `r${revision}`;
}

/** Undefined if the text is no etag of ours. */
export function revisionOf(etag: string): bigint | undefined {
  return /^r\d{1,18}$/.test(etag) ? BigInt(etag.slice(1)) : undefined;
}

const ORDER_PREFIX = "ord_";
const PAYMENT_PREFIX = "pay_";

/** Payments share the key of their order; callers see a name of their own. */
export function paymentIdOf(orderKey: string): string {
  return `${PAYMENT_PREFIX}${orderKey.slice(ORDER_PREFIX.length)}`;
}

/** Undefined if the id is none of a payment. */
export function orderKeyOf(paymentId: string): string | undefined {
  return paymentId.startsWith(PAYMENT_PREFIX)
    ? `${ORDER_PREFIX}${paymentId.slice(PAYMENT_PREFIX.length)}`
    : undefined;
}

/** An order as callers see it. */
export function orderView(
  tenantId: string,
  id: string,
  state: OrderState,
): MessageInitShape<typeof OrderSchema> {
  const { currency, reason, attempts, customerId, channel, branchId, status, metadata, revision } = state;
  return {
    id,
    tenantId,
    customerId,
    channel,
    branchId,
    status,
    ...(reason === undefined
      ? {}
      : { reason: { code: reason.code, text: reason.text, shortages: reason.shortages.map(plain) } }),
    lines: state.lines.map((line, index) => lineView(line, index, currency)),
    subtotal: money(currency, state.subtotal),
    tax: money(currency, state.tax),
    total: money(currency, state.total),
    paymentStatus: state.paymentStatus,
    paymentIds: attempts > 0 ? [paymentIdOf(id)] : [],
    ...present({
      holdExpiresAt: stamp(state.holdExpiresMs),
      paymentDeadline: stamp(state.paymentDeadlineMs),
      createdAt: stamp(state.createdMs),
      updatedAt: stamp(state.updatedMs),
      confirmedAt: stamp(state.confirmedMs),
      closedAt: stamp(state.closedMs),
    }),
    revision,
    etag: etagOf(revision),
    metadata,
  };
}

const shared = new WeakMap<OrderState, Order>();

/** The same view for all watchers that are told the same state: it is made once. Not to be changed. */
export function sharedOrderView(tenantId: string, id: string, state: OrderState): Order {
  const known = shared.get(state);
  if (known !== undefined) return known;
  const order = create(OrderSchema, orderView(tenantId, id, state));
  shared.set(state, order);
  return order;
}

function plain({
  productId,
  requested,
  available,
}: {
  productId: string;
  requested: number;
  available: bigint;
}) {
  return { productId, requested, available };
}

function lineView(
  line: OrderState["lines"][number],
  index: number,
  currency: string,
): MessageInitShape<typeof OrderLineSchema> {
  const { productId, sku, name, quantity, taxRateBp, stock } = line;
  return {
    lineId: String(index + 1),
    productId,
    sku,
    name,
    quantity,
    quantityHeld: stock === LineStock.HELD ? quantity : 0,
    unitPrice: money(currency, line.unitPrice),
    taxRateBp,
    tax: money(currency, line.tax),
    lineTotal: money(currency, line.lineTotal),
  };
}

/** A payment as callers see it. */
export function paymentView(
  tenantId: string,
  orderId: string,
  state: PaymentState,
): MessageInitShape<typeof PaymentSchema> {
  const { status, currency, customerId, providerRef, revision } = state;
  return {
    id: paymentIdOf(orderId),
    tenantId,
    orderId,
    customerId,
    status,
    amount: money(currency, state.amount),
    authorizedAmount: money(currency, state.authorized),
    capturedAmount: money(currency, state.captured),
    refundedAmount: money(currency, state.refunded + state.refunding),
    providerRef,
    attempts: state.attempts.map((attempt) => ({
      number: attempt.number,
      status: attempt.status,
      methodToken: attempt.methodToken,
      providerRef: attempt.providerRef,
      failureCode: attempt.failureCode,
      failureText: attempt.failureText,
      ...present({ startedAt: stamp(attempt.startedMs), finishedAt: stamp(attempt.finishedMs) }),
    })),
    refunds: state.refunds.map((refund) => refundView(currency, refund)),
    ...present({
      authExpiresAt: stamp(state.authExpiresMs),
      createdAt: stamp(state.createdMs),
      updatedAt: stamp(state.updatedMs),
    }),
    revision,
    etag: etagOf(revision),
  };
}

/** A refund as callers see it. */
export function refundView(currency: string, refund: RefundRecord): MessageInitShape<typeof RefundSchema> {
  const { id, amount, status, reason, providerRef } = refund;
  return {
    id,
    amount: money(currency, amount),
    status,
    reason,
    providerRef,
    ...present({ createdAt: stamp(refund.createdMs), finishedAt: stamp(refund.finishedMs) }),
  };
}

/** A product as callers see it. */
export function productView(
  tenantId: string,
  id: string,
  state: ProductState,
): MessageInitShape<typeof ProductSchema> {
  const { sku, name, description, price, currency, taxRateBp, safetyStock, lowStockThreshold, revision } =
    state;
  return {
    id,
    tenantId,
    sku,
    name,
    description,
    price: money(currency, price),
    taxRateBp,
    safetyStock,
    lowStockThreshold,
    ...present({
      archivedAt: stamp(state.archivedMs),
      createdAt: stamp(state.createdMs),
      updatedAt: stamp(state.updatedMs),
    }),
    revision,
    etag: etagOf(revision),
  };
}

/** available = on_hand − reserved − safety_stock. */
export function availableOf({ onHand, reserved, safetyStock }: StockState): bigint {
  return onHand - reserved - safetyStock;
}

/** Stock as callers see it. */
export function stockView(productId: string, state: StockState): MessageInitShape<typeof StockSchema> {
  const { onHand, reserved, safetyStock, lowStockThreshold, revision } = state;
  const available = availableOf(state);
  return {
    productId,
    onHand,
    reserved,
    safetyStock,
    available,
    lowStockThreshold,
    low: available <= lowStockThreshold,
    ...present({ updatedAt: stamp(state.updatedMs) }),
    revision,
  };
}

/** Without the fields that are undefined: an absent field and one set to undefined are not the same. */
export function present<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const found: { [K in keyof T]?: NonNullable<T[K]> } = {};
  for (const name in fields) {
    const value = fields[name];
    if (value !== undefined && value !== null) found[name] = value;
  }
  return found;
}
