import { durationMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { type ActorAddress, type ActorClient, CallError } from "../actors/runtime/index.ts";
import { OrderActor } from "../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { PaymentActor } from "../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import {
  type PaymentState,
  PaymentStateSchema,
} from "../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import {
  type ListPaymentsRequest,
  ListPaymentsRequestSchema,
  type PaymentService,
  type PayOrderRequest,
  PayOrderRequestSchema,
  type RefundPaymentRequest,
  RefundPaymentRequestSchema,
} from "../proto/gen/tradewind/payment/v1/payment_service_pb.ts";
import { readArchived } from "./archived-order.ts";
import { scopeOf } from "./call-scope.ts";
import { edgeError, notFound } from "./connect-errors.ts";
import { identifyWrite, writeForm } from "./idempotency.ts";
import { remainingMs } from "./interceptors/deadline.ts";
import { listRecords } from "./listing.ts";
import { decodePageToken, encodePageToken, pageSizeOf } from "./page-token.ts";
import { readRecord } from "./record-read.ts";
import { send, type ServiceDeps } from "./service-deps.ts";
import { orderKeyOf, paymentView, refundView } from "./views.ts";

const PAYMENT_KIND = "payment";
/** Kept back of the deadline to read the payment and to answer with it. */
const ANSWER_MS = 500;
const PAY_FORM = writeForm("timeout");

/** Edge of the payments. */
export function paymentService(deps: ServiceDeps): ServiceImpl<typeof PaymentService> {
  return {
    getPayment: async ({ paymentId }, context) => {
      const { tenant } = scopeOf(context);
      const { key, state } = await readPayment(deps, tenant, paymentId);
      return { payment: paymentView(tenant, key, state) };
    },
    listPayments: (request, context) => listPayments(deps, request, context),
    payOrder: (request, context) => payOrder(deps, request, context),
    refundPayment: (request, context) => refundPayment(deps, request, context),
  };
}

async function readPayment({ client }: ServiceDeps, tenant: string, paymentId: string) {
  const key = orderKeyOf(paymentId);
  if (key === undefined) throw notFound("payment", paymentId);
  const state = await readPaymentOf(client, { tenant, key });
  if (state === undefined) throw notFound("payment", paymentId);
  return { key, state };
}

/** The payment of an order, archived ones included. */
async function readPaymentOf(client: ActorClient, address: ActorAddress): Promise<PaymentState | undefined> {
  const held = await readRecord(client, PAYMENT_KIND, PaymentStateSchema, address);
  return held ?? (await readArchived(client, address))?.payment;
}

async function listPayments(deps: ServiceDeps, request: ListPaymentsRequest, context: HandlerContext) {
  const { tenant } = scopeOf(context);
  const { orderId, customerId } = request;
  const statuses = new Set<number>(request.statuses);
  const after = decodePageToken(ListPaymentsRequestSchema, request);
  const matches = (state: PaymentState) =>
    (statuses.size === 0 || statuses.has(state.status)) &&
    (customerId === "" || state.customerId === customerId);
  if (orderId !== "") {
    // An order has one payment, under its own key.
    const state = await readPaymentOf(deps.client, { tenant, key: orderId });
    return { payments: state !== undefined && matches(state) ? [paymentView(tenant, orderId, state)] : [] };
  }
  const { items, next } = await listRecords(deps.client, {
    tenant,
    list: "payments",
    kind: PAYMENT_KIND,
    schema: PaymentStateSchema,
    after,
    pageSize: pageSizeOf(request),
    matchesEntry: ({ customer_id: customer }) => customerId === "" || customer === customerId,
    matchesRecord: (state) => state.archivedMs === 0n && matches(state),
  });
  return {
    payments: items.map(({ id, state }) => paymentView(tenant, id, state)),
    nextPageToken: encodePageToken(ListPaymentsRequestSchema, request, next),
  };
}

async function payOrder(deps: ServiceDeps, request: PayOrderRequest, context: HandlerContext) {
  const { tenant } = scopeOf(context);
  const { orderId, payment, timeout } = request;
  const identity = identifyWrite(PayOrderRequestSchema, request, context, deps.random, PAY_FORM);
  const waitMs = timeout === undefined ? 0 : durationMs(timeout);
  const timeoutMs = Math.min(waitMs, remainingMs(context, deps.limits.deadlineMsMax, ANSWER_MS));
  const message = { methodToken: payment?.methodToken ?? "", wait: waitMs > 0 };
  const command = { method: OrderActor.method.pay, key: orderId, message, identity };
  try {
    await send(deps, context, waitMs > 0 ? { ...command, timeoutMs } : command);
  } catch (error) {
    // Accepted, and its outcome is not there yet: the payment as it is tells that.
    if (waitMs === 0 || !(error instanceof CallError) || error.kind !== "timeout") throw error;
  }
  const state = await readRecord(deps.client, PAYMENT_KIND, PaymentStateSchema, { tenant, key: orderId });
  if (state === undefined)
    throw edgeError("UNAVAILABLE", "the payment cannot be read yet; repeat with the same request id");
  return { payment: paymentView(tenant, orderId, state) };
}

async function refundPayment(deps: ServiceDeps, request: RefundPaymentRequest, context: HandlerContext) {
  const { tenant } = scopeOf(context);
  const { paymentId, amount, reason } = request;
  const key = orderKeyOf(paymentId);
  if (key === undefined) throw notFound("payment", paymentId);
  const identity = identifyWrite(RefundPaymentRequestSchema, request, context, deps.random);
  const message = { amount: amount?.minorUnits ?? 0n, currency: amount?.currencyCode ?? "", reason };
  const reply = await send(deps, context, { method: PaymentActor.method.refund, key, message, identity });
  const { payment, refund } = reply.message;
  if (payment === undefined || refund === undefined) {
    throw edgeError("INTERNAL", "internal error", {
      cause: new Error(`refund of ${paymentId} answered without its state`),
    });
  }
  return { payment: paymentView(tenant, key, payment), refund: refundView(payment.currency, refund) };
}
