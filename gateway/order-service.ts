import { durationMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { CallError } from "../actors/runtime/index.ts";
import { OrderActor } from "../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { type OrderState, OrderStateSchema } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { Channel } from "../proto/gen/tradewind/order/v1/order_pb.ts";
import {
  CancelOrderRequestSchema,
  ListOrdersRequestSchema,
  type OrderFilter,
  type OrderService,
  type PlaceOrderRequest,
  PlaceOrderRequestSchema,
  Wait,
} from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { readArchived } from "./archived-order.ts";
import { scopeOf } from "./call-scope.ts";
import { edgeError, notFound } from "./connect-errors.ts";
import { identifyWrite, REPLAYED_HEADER, writeForm, type WriteIdentity } from "./idempotency.ts";
import { remainingMs } from "./interceptors/deadline.ts";
import { listRecords } from "./listing.ts";
import { historyOf } from "./order-history.ts";
import { priceLines, type PricedLine } from "./order-pricing.ts";
import { hasReached } from "./order-status.ts";
import { awaitOrder, ORDER_KIND, watchOrder, watchOrders } from "./order-watch.ts";
import { decodePageToken, encodePageToken, pageSizeOf } from "./page-token.ts";
import { readRecord } from "./record-read.ts";
import { refuseBranch, send, type ServiceDeps } from "./service-deps.ts";
import { orderView } from "./views.ts";

/** How long PlaceOrder waits when it is not told. */
const WAIT_MS_DEFAULT = 10_000;
/** Kept back of the deadline to read the order and to answer with it. */
const ANSWER_MS = 500;
/** How far and how long to wait is no part of an order. */
const PLACE_FORM = writeForm("wait", "timeout");

/** Edge of the order domain: check, price, address, forward. Business rules live in the actor. */
export function orderService(deps: ServiceDeps): ServiceImpl<typeof OrderService> {
  const { client, limits, random } = deps;
  const read = async (tenant: string, orderId: string): Promise<OrderState> => {
    const address = { tenant, key: orderId };
    const held = await readRecord(client, ORDER_KIND, OrderStateSchema, address);
    const state = held ?? (await readArchived(client, address))?.order;
    if (state === undefined) throw notFound("order", orderId);
    return state;
  };
  return {
    placeOrder: (request, context) => placeOrder(deps, request, context),
    getOrder: async ({ orderId }, context) => {
      const { tenant } = scopeOf(context);
      return { order: orderView(tenant, orderId, await read(tenant, orderId)) };
    },
    listOrders: async (request, context) => {
      const { tenant } = scopeOf(context);
      const filter = filterOf(request.filter);
      const { items, next } = await listRecords(client, {
        tenant,
        list: "orders",
        kind: ORDER_KIND,
        schema: OrderStateSchema,
        after: decodePageToken(ListOrdersRequestSchema, request) ?? filter.before,
        pageSize: pageSizeOf(request),
        matchesEntry: ({ customer_id: customer }) =>
          filter.customerId === "" || customer === filter.customerId,
        matchesRecord: filter.matches,
        oldestMs: filter.oldestMs,
      });
      return {
        orders: items.map(({ id, state }) => orderView(tenant, id, state)),
        nextPageToken: encodePageToken(ListOrdersRequestSchema, request, next),
      };
    },
    cancelOrder: async (request, context) => {
      const { orderId, reason } = request;
      const identity = identifyWrite(CancelOrderRequestSchema, request, context, random);
      const command = { method: OrderActor.method.cancel, key: orderId, message: { reason }, identity };
      const { message } = await send(deps, context, command);
      const { tenant } = scopeOf(context);
      return { order: orderView(tenant, orderId, message.order ?? (await read(tenant, orderId))) };
    },
    getOrderHistory: async ({ orderId }, context) => {
      const { tenant } = scopeOf(context);
      const events = await client.history(ORDER_KIND, { tenant, key: orderId });
      if (events.length === 0) await read(tenant, orderId);
      return { entries: [...historyOf(events)] };
    },
    watchOrder: (request, context) => watchOrder(deps, limits, request, context),
    watchOrders: (request, context) => watchOrders(deps, limits, filterOf(request.filter), request, context),
  };
}

async function placeOrder(deps: ServiceDeps, request: PlaceOrderRequest, context: HandlerContext) {
  const { tenant } = scopeOf(context);
  refuseBranch(request.branchId);
  const identity = identifyWrite(PlaceOrderRequestSchema, request, context, deps.random, PLACE_FORM);
  const orderId = identity.actorKey("ord");
  const wantedMs = (request.timeout === undefined ? 0 : durationMs(request.timeout)) || WAIT_MS_DEFAULT;
  const waitMs = Math.min(wantedMs, remainingMs(context, deps.limits.deadlineMsMax, ANSWER_MS));
  const endMs = deps.clock.monotonicMs() + waitMs;
  const state = await place(deps, request, context, { identity, orderId, tenant, waitMs });
  const wait = request.wait || Wait.ACCEPTED;
  // A repeat gets the answer of the first request, which may not have waited as far as this one wants.
  const leftMs = endMs - deps.clock.monotonicMs();
  const isWaiting = !hasReached(state, wait) && context.responseHeader.has(REPLAYED_HEADER) && leftMs > 0;
  const reached = isWaiting ? await awaitOrder(deps, tenant, orderId, wait, leftMs, context.signal) : state;
  return { order: orderView(tenant, orderId, reached), waitReached: hasReached(reached, wait) };
}

/** Sends the order off and waits as far as it is asked; what is accepted and not there yet is answered as it is. */
async function place(
  deps: ServiceDeps,
  request: PlaceOrderRequest,
  context: HandlerContext,
  target: { identity: WriteIdentity; orderId: string; tenant: string; waitMs: number },
): Promise<OrderState> {
  const { identity, orderId: key, tenant, waitMs } = target;
  const message = await commandOf(deps, request, target);
  const isWaiting = request.wait === Wait.HELD || request.wait === Wait.SETTLED;
  const timeout = isWaiting ? { timeoutMs: waitMs } : {};
  try {
    const reply = await send(deps, context, {
      method: OrderActor.method.place,
      key,
      message,
      identity,
      ...timeout,
    });
    if (reply.message.order !== undefined) return reply.message.order;
  } catch (error) {
    if (!isWaiting || !(error instanceof CallError) || error.kind !== "timeout") throw error;
    // One that cannot be seen may be on its way: what is known is that the time is over.
    const { state } = await deps.client.read(ORDER_KIND, OrderStateSchema, { tenant, key });
    if (state === undefined) throw error;
    return state;
  }
  throw edgeError("INTERNAL", "internal error", {
    cause: new Error(`order ${key} answered without its state`),
  });
}

async function commandOf(
  deps: ServiceDeps,
  request: PlaceOrderRequest,
  { identity, orderId, tenant }: { identity: WriteIdentity; orderId: string; tenant: string },
) {
  const settings = await deps.tenants.settings(tenant);
  const { customerId, wait, metadata, branchId, expectedTotal, payment } = request;
  return {
    customerId,
    lines: [...(await linesOf(deps, request, identity, tenant, orderId))],
    ...(expectedTotal === undefined ? {} : { expectedTotal: expectedTotal.minorUnits }),
    expectedCurrency: expectedTotal?.currencyCode ?? "",
    methodToken: payment?.methodToken ?? "",
    wait,
    channel: request.channel || Channel.API,
    branchId,
    metadata,
    ...(settings === undefined
      ? {}
      : {
          settings: {
            pendingDeadlineMs: settings.pendingDeadlineMs,
            reservationTtlMs: settings.reservationTtlMs,
            paymentDeadlineMs: settings.paymentDeadlineMs,
            paymentAttemptsMax: settings.paymentAttemptsMax,
            directPaymentAttemptsMax: settings.directPaymentAttemptsMax,
            ...(settings.autoCapture === undefined ? {} : { autoCapture: settings.autoCapture }),
          },
        }),
  };
}

/** A repeat is answered by the order that exists, also when its products cannot be ordered any more. */
async function linesOf(
  { products, client }: ServiceDeps,
  request: PlaceOrderRequest,
  identity: WriteIdentity,
  tenant: string,
  orderId: string,
): Promise<readonly PricedLine[]> {
  try {
    return await priceLines(products, tenant, request.lines);
  } catch (error) {
    if (!identity.isGiven) throw error;
    const state = await readRecord(client, ORDER_KIND, OrderStateSchema, { tenant, key: orderId });
    if (state === undefined) throw error;
    return request.lines.map(({ productId, quantity }) => ({
      productId,
      quantity,
      currency: state.currency,
    }));
  }
}

/** A filter as the lists and watches use it. */
function filterOf(filter: OrderFilter | undefined) {
  const { customerId = "", productId = "", statuses = [], created } = filter ?? {};
  const oldestMs = created?.start === undefined ? 0 : timestampMs(created.start);
  const endMs = created?.end === undefined ? Infinity : timestampMs(created.end);
  const wanted = new Set<number>(statuses);
  const mayHaveMatched = (state: OrderState): boolean => {
    const createdMs = Number(state.createdMs);
    return (
      state.archivedMs === 0n &&
      (customerId === "" || state.customerId === customerId) &&
      (productId === "" || state.lines.some((line) => line.productId === productId)) &&
      createdMs >= oldestMs &&
      createdMs < endMs
    );
  };
  return {
    customerId,
    oldestMs,
    /** Position in front of the newest entry that is old enough. */
    before: endMs === Infinity ? undefined : { createdMs: endMs, id: "" },
    matches: (state: OrderState): boolean =>
      (wanted.size === 0 || wanted.has(state.status)) && mayHaveMatched(state),
    mayHaveMatched,
  };
}

export type OrderMatcher = ReturnType<typeof filterOf>;
