import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import { LRUCache } from "lru-cache";
import type { RecordUpdate } from "../actors/runtime/index.ts";
import type { Clock } from "../platform/clock.ts";
import { type OrderState, OrderStateSchema } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { OrderStatus } from "../proto/gen/tradewind/order/v1/order_pb.ts";
import type {
  Wait,
  WatchOrderRequest,
  WatchOrderResponseSchema,
  WatchOrdersRequest,
  WatchOrdersResponseSchema,
} from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { scopeOf } from "./call-scope.ts";
import { notFound } from "./connect-errors.ts";
import { parseCursor, positionText } from "./cursor.ts";
import type { GatewayLimits } from "./limits.ts";
import { listRecords } from "./listing.ts";
import { createMailbox, type Mailbox } from "./mailbox.ts";
import { hasReached, isFinal, isSettled } from "./order-status.ts";
import { untilReady } from "./record-feed.ts";
import { readRecord } from "./record-read.ts";
import type { ServiceDeps } from "./service-deps.ts";
import { sharedOrderView } from "./views.ts";

export const ORDER_KIND = "order";

type Change = RecordUpdate<typeof OrderStateSchema>;
type OrderEvent = MessageInitShape<typeof WatchOrderResponseSchema>;
type OrdersEvent = MessageInitShape<typeof WatchOrdersResponseSchema>;

/** Orders that one watcher is known to have seen; what is older is told as if it were new. */
const SEEN_MAX = 10_000;

/** Changes that wait while a watcher's missed ones are read; with more it gets a snapshot. */
const HELD_MAX = 10_000;

/** What a watcher of many orders wants to see. */
export interface OrderSelection {
  readonly customerId: string;
  readonly oldestMs: number;
  readonly before: { readonly createdMs: number; readonly id: string } | undefined;
  readonly matches: (state: OrderState) => boolean;
  /** Whether it matches now or did in another state: only the status of an order changes. */
  readonly mayHaveMatched: (state: OrderState) => boolean;
}

/** The order now, then each newer state; ends with the last one. The cursor is the order's revision. */
export async function* watchOrder(
  deps: ServiceDeps,
  limits: GatewayLimits,
  { orderId, cursor, untilSettled }: WatchOrderRequest,
  context: HandlerContext,
): AsyncGenerator<OrderEvent> {
  const { tenant } = scopeOf(context);
  const { signal } = context;
  const isOver = (state: OrderState) => isFinal(state) || (untilSettled && isSettled(state));
  let seen = BigInt(parseCursor(cursor) ?? -1);
  let previousStatus: OrderStatus = OrderStatus.UNSPECIFIED;
  const mailbox = mailboxOf(deps.clock, signal, limits);
  const watch = deps.client.watch(ORDER_KIND, OrderStateSchema, tenant, orderId, (change) =>
    mailbox.put(orderId, change),
  );
  const read = () => readRecord(deps.client, ORDER_KIND, OrderStateSchema, { tenant, key: orderId });
  try {
    await untilReady(watch, deps.clock, signal);
    let state = await read();
    if (state === undefined) throw notFound("order", orderId);
    for (;;) {
      if (state !== undefined && state.revision > seen) {
        const order = sharedOrderView(tenant, orderId, state);
        const event =
          seen < 0n ? ({ case: "snapshot", value: order } as const) : updateOf(order, previousStatus);
        seen = state.revision;
        previousStatus = state.status;
        yield { cursor: String(seen), event };
      }
      if (state !== undefined && isOver(state)) return;
      const mail = await mailbox.take();
      if (mail.kind === "items") {
        state = mail.items.at(-1)?.state;
        continue;
      }
      yield { cursor: String(seen), event: heartbeat(deps.clock) };
      // Looked up now and then, so that no lost change can keep the stream from its end.
      state = await read().catch(() => undefined);
    }
  } finally {
    watch.close();
  }
}

function updateOf(order: ReturnType<typeof sharedOrderView>, previousStatus: OrderStatus) {
  return { case: "update", value: { order, previousStatus } } as const;
}

/** What a watcher has seen of an order, and whether it takes it for one that matches. */
interface Sight {
  readonly revision: bigint;
  readonly status: OrderStatus;
  readonly isShown: boolean;
}

function sightOf({ revision, status }: OrderState, isShown: boolean): Sight {
  return { revision, status, isShown };
}

/** Matching orders now, then each that appears, changes, or stops to match. The cursor is a sequence of the bucket. */
export async function* watchOrders(
  deps: ServiceDeps,
  limits: GatewayLimits,
  selection: OrderSelection,
  { cursor, snapshotSize }: WatchOrdersRequest,
  context: HandlerContext,
): AsyncGenerator<OrdersEvent> {
  const { tenant } = scopeOf(context);
  const resume = parseCursor(cursor);
  const mailbox = mailboxOf(deps.clock, context.signal, limits);
  const seen = new LRUCache<string, Sight>({ max: SEEN_MAX });
  // What is told while older changes are read stands behind them: else they would replace it, or the cursor pass them.
  let held: Change[] | undefined = [];
  const feed = deps.orderFeeds.join(tenant, (change) => {
    if (held === undefined) mailbox.put(change.key, change);
    else if (held.length <= HELD_MAX) held.push(change);
  });
  let position = resume ?? 0;
  const storedSince = (sequence: number) =>
    deps.client.changesSince(ORDER_KIND, OrderStateSchema, tenant, sequence, limits.watchPendingMax);
  try {
    await untilReady(feed, deps.clock, context.signal);
    // A gateway that was restarted remembers nothing: the bucket has the newest state of what changed since.
    const missed = resume === undefined ? undefined : (feed.since(resume) ?? (await storedSince(resume)));
    for (const change of [...(missed ?? []), ...held]) mailbox.put(change.key, change);
    let needsSnapshot = missed === undefined || held.length > HELD_MAX;
    held = undefined;
    // Without a snapshot nobody knows what the reader has: an order may have matched when it last saw it.
    let isResumed = !needsSnapshot;
    for (;;) {
      if (needsSnapshot) {
        position = feed.newest;
        isResumed = false;
        const orders = await newestOrders(deps, tenant, selection, snapshotSize || limits.pageSizeDefault);
        seen.clear();
        for (const { id, state } of orders) seen.set(id, sightOf(state, true));
        const views = orders.map(({ id, state }) => sharedOrderView(tenant, id, state));
        yield { cursor: positionText(position), event: { case: "snapshot", value: { orders: views } } };
      }
      const mail = await mailbox.take();
      needsSnapshot = mail.kind === "overflow";
      if (mail.kind === "heartbeat") yield { cursor: positionText(position), event: heartbeat(deps.clock) };
      if (mail.kind !== "items") continue;
      for (const { key, state, sequence } of mail.items) {
        position = Math.max(position, sequence);
        const before = seen.get(key);
        if (state === undefined || (before !== undefined && state.revision <= before.revision)) continue;
        const isMatch = selection.matches(state);
        const wasShown = before?.isShown ?? (isResumed && selection.mayHaveMatched(state));
        if (isMatch || wasShown || before !== undefined) seen.set(key, sightOf(state, isMatch));
        if (!isMatch && !wasShown) continue;
        yield {
          cursor: positionText(position),
          event: updateOf(sharedOrderView(tenant, key, state), before?.status ?? 0),
        };
      }
    }
  } finally {
    feed.close();
  }
}

async function newestOrders(
  { client }: ServiceDeps,
  tenant: string,
  { customerId, oldestMs, before, matches }: OrderSelection,
  pageSize: number,
) {
  const { items } = await listRecords(client, {
    tenant,
    list: "orders",
    kind: ORDER_KIND,
    schema: OrderStateSchema,
    after: before,
    pageSize,
    matchesEntry: ({ customer_id: customer }) => customerId === "" || customer === customerId,
    matchesRecord: matches,
    oldestMs,
  });
  return items;
}

/** Waits until the order got as far as `wait` asks, at most `timeoutMs`. @returns the newest state seen */
export async function awaitOrder(
  { client, clock }: ServiceDeps,
  tenant: string,
  key: string,
  wait: Wait,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<OrderState> {
  const endMs = clock.monotonicMs() + timeoutMs;
  const mailbox = createMailbox<Change>({ clock, signal, heartbeatMs: timeoutMs, keysMax: 1 });
  const watch = client.watch(ORDER_KIND, OrderStateSchema, tenant, key, (change) => mailbox.put(key, change));
  try {
    await untilReady(watch, clock, signal);
    let state = await readRecord(client, ORDER_KIND, OrderStateSchema, { tenant, key });
    if (state === undefined) throw notFound("order", key);
    while (!hasReached(state, wait) && clock.monotonicMs() < endMs) {
      const mail = await mailbox.take();
      const newest: OrderState | undefined = mail.kind === "items" ? mail.items.at(-1)?.state : undefined;
      if (newest !== undefined && newest.revision > state.revision) state = newest;
    }
    return state;
  } finally {
    watch.close();
  }
}

function mailboxOf(
  clock: Clock,
  signal: AbortSignal,
  { heartbeatMs, watchPendingMax }: GatewayLimits,
): Mailbox<Change> {
  return createMailbox<Change>({ clock, signal, heartbeatMs, keysMax: watchPendingMax });
}

function heartbeat(clock: Clock) {
  return { case: "heartbeat", value: { time: timestampFromMs(clock.nowMs()) } } as const;
}
