import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import {
  AnalyticsStateSchema,
  CustomerSumsSchema,
  FunnelSchema,
  ProductSumsSchema,
  RankingSchema,
  SalesSumsSchema,
  TopCustomersSchema,
  TopProductsSchema,
  type AnalyticsState,
  type ProductSums,
} from "../../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import {
  OrderCancelledSchema,
  OrderCancellingSchema,
  OrderCapturedSchema,
  OrderCompensatingSchema,
  OrderConfirmedSchema,
  OrderExpiredSchema,
  OrderFailedSchema,
  OrderHeldSchema,
  OrderPlacedSchema,
  OrderRefundedSchema,
  OrderRejectedSchema,
  OrderReturnedSchema,
} from "../../proto/gen/tradewind/actors/order/v1/order_events_pb.ts";
import type { OrderReason, OrderStatus } from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { defineProjection, on, type ProjectionContext } from "../runtime/index.ts";
import {
  ANALYTICS,
  customerKey,
  FUNNEL,
  minuteKey,
  productKey,
  topCustomersKey,
  topProductsKey,
  totalKey,
} from "./analytics-keys.ts";
import { rank } from "./ranking.ts";

type Context = ProjectionContext<typeof AnalyticsStateSchema>;
type Case = NonNullable<AnalyticsState["record"]["case"]>;
type Value<C extends Case> = Extract<AnalyticsState["record"], { case: C }>["value"];

const SCHEMAS = {
  total: SalesSumsSchema,
  minute: SalesSumsSchema,
  product: ProductSumsSchema,
  customer: CustomerSumsSchema,
  topCustomers: TopCustomersSchema,
  topProducts: TopProductsSchema,
  funnel: FunnelSchema,
} satisfies Record<Case, DescMessage>;

/** The record under a key, opened if it is new. */
function open<C extends Case>(ctx: Context, key: string, kind: C, atMs: bigint): Value<C> {
  const record = ctx.record(key);
  if (atMs > record.asOfMs) record.asOfMs = atMs;
  if (record.record.case === undefined) {
    const value = create(SCHEMAS[kind] as DescMessage);
    record.record = { case: kind, value } as AnalyticsState["record"];
  }
  return record.record.value as Value<C>;
}

interface Sale {
  readonly currency: string;
  readonly customerId: string;
  readonly atMs: bigint;
  readonly lines: readonly { readonly productId: string }[];
}

function salesKeys({ currency, customerId, atMs, lines }: Sale): string[] {
  return [
    totalKey(currency),
    minuteKey(currency, atMs),
    customerKey(currency, customerId),
    topCustomersKey(currency),
    topProductsKey(currency),
    ...lines.map(({ productId }) => productKey(currency, productId)),
  ];
}

/** Books on the customer, and in the ranking of customers. */
function bookCustomer(
  ctx: Context,
  { currency, customerId, atMs }: Sale,
  gross: bigint,
  refunds: bigint,
  orders: bigint,
) {
  const customer = open(ctx, customerKey(currency, customerId), "customer", atMs);
  customer.gross += gross;
  customer.refunds += refunds;
  customer.orders += orders;
  const top = open(ctx, topCustomersKey(currency), "topCustomers", atMs);
  rank((top.spent ??= create(RankingSchema)), customerId, customer.gross - customer.refunds);
}

/** Books on a product, and in the rankings of products. */
function bookProduct(
  ctx: Context,
  { currency, atMs }: Sale,
  productId: string,
  book: (product: ProductSums) => void,
) {
  const product = open(ctx, productKey(currency, productId), "product", atMs);
  book(product);
  const top = open(ctx, topProductsKey(currency), "topProducts", atMs);
  rank((top.revenue ??= create(RankingSchema)), productId, product.revenue - product.revenueRefunded);
  rank((top.units ??= create(RankingSchema)), productId, product.units - product.unitsReturned);
}

function sums(ctx: Context, { currency, atMs }: Sale): readonly MessageShape<typeof SalesSumsSchema>[] {
  const total = open(ctx, totalKey(currency), "total", atMs);
  return [total, open(ctx, minuteKey(currency, atMs), "minute", atMs)];
}

const captured = on(AnalyticsStateSchema, OrderCapturedSchema, salesKeys, (ctx, event) => {
  const units = event.lines.reduce((total, { quantity }) => total + BigInt(quantity), 0n);
  for (const sum of sums(ctx, event)) {
    sum.gross += event.amount;
    sum.orders += 1n;
    sum.units += units;
  }
  bookCustomer(ctx, event, event.amount, 0n, 1n);
  for (const { productId, name, quantity, net } of event.lines) {
    bookProduct(ctx, event, productId, (product) => {
      product.name = name;
      product.units += BigInt(quantity);
      product.revenue += net;
      product.orders += 1n;
    });
  }
});

const refunded = on(AnalyticsStateSchema, OrderRefundedSchema, salesKeys, (ctx, event) => {
  for (const sum of sums(ctx, event)) sum.refunds += event.amount;
  bookCustomer(ctx, event, 0n, event.amount, 0n);
  for (const { productId, net } of event.lines) {
    bookProduct(ctx, event, productId, (product) => {
      product.revenueRefunded += net;
    });
  }
});

const returned = on(AnalyticsStateSchema, OrderReturnedSchema, salesKeys, (ctx, event) => {
  const units = event.lines.reduce((total, { quantity }) => total + BigInt(quantity), 0n);
  for (const sum of sums(ctx, event)) sum.unitsReturned += units;
  for (const { productId, quantity } of event.lines) {
    bookProduct(ctx, event, productId, (product) => {
      product.unitsReturned += BigInt(quantity);
    });
  }
});

interface Reached {
  readonly status: OrderStatus;
  readonly atMs: bigint;
  readonly reason?: OrderReason | undefined;
}

/** Counts an order that has got to a status; why, when it was turned away from its goal. */
function reached(event: DescMessage, withReason: boolean) {
  return on(
    AnalyticsStateSchema,
    event,
    () => [FUNNEL],
    (ctx, message) => {
      const { status, atMs, reason } = message as unknown as Reached;
      const funnel = open(ctx, FUNNEL, "funnel", atMs);
      funnel.reached[status] = (funnel.reached[status] ?? 0n) + 1n;
      if (!withReason || reason === undefined) return;
      funnel.reasons[reason.code] = (funnel.reasons[reason.code] ?? 0n) + 1n;
    },
  );
}

/** Live figures of each tenant, once per event: sums, rankings, minutes, the funnel. */
export const analyticsProjection = defineProjection(ANALYTICS, AnalyticsStateSchema, [
  captured,
  refunded,
  returned,
  reached(OrderPlacedSchema, false),
  reached(OrderHeldSchema, false),
  reached(OrderConfirmedSchema, false),
  reached(OrderRejectedSchema, true),
  reached(OrderExpiredSchema, true),
  reached(OrderCancellingSchema, true),
  reached(OrderCompensatingSchema, true),
  reached(OrderCancelledSchema, false),
  reached(OrderFailedSchema, false),
]);
