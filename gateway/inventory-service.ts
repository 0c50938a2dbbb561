import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { LRUCache } from "lru-cache";
import type { RecordUpdate } from "../actors/runtime/index.ts";
import {
  AdjustmentActor,
  type AdjustmentReply,
  AdjustmentStatus,
} from "../proto/gen/tradewind/actors/adjustment/v1/adjustment_actor_pb.ts";
import { type StockState, StockStateSchema } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import {
  type AdjustStockRequest,
  AdjustStockRequestSchema,
  type CheckAvailabilityRequest,
  type InventoryService,
  type ListStockRequest,
  ListStockRequestSchema,
  type WatchStockRequest,
  type WatchStockResponseSchema,
} from "../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { scopeOf } from "./call-scope.ts";
import { edgeError, notFound } from "./connect-errors.ts";
import { identifyWrite } from "./idempotency.ts";
import { listRecords } from "./listing.ts";
import { createMailbox } from "./mailbox.ts";
import { decodePageToken, encodePageToken, pageSizeOf } from "./page-token.ts";
import { readRecord } from "./record-read.ts";
import { parseCursor, positionText } from "./cursor.ts";
import { untilReady } from "./record-feed.ts";
import { refuseBranch, send, type ServiceDeps } from "./service-deps.ts";
import { availableOf, stockView } from "./views.ts";

const STOCK_KIND = "stock";
/** Products in the snapshot of a watch of everything. */
const SNAPSHOT_MAX = 500;
/** Products whose newest revision a watch of everything remembers. */
const SEEN_MAX = 10_000;

type StockEvent = MessageInitShape<typeof WatchStockResponseSchema>;

/** Edge of the stock. */
export function inventoryService(deps: ServiceDeps): ServiceImpl<typeof InventoryService> {
  const { client } = deps;
  return {
    getStock: async ({ productId, branchId }, context) => {
      refuseBranch(branchId);
      const { tenant } = scopeOf(context);
      const state = await readRecord(client, STOCK_KIND, StockStateSchema, { tenant, key: productId });
      if (state?.opened !== true) throw notFound("product", productId);
      return { stock: stockView(productId, state) };
    },
    listStock: (request, context) => listStock(deps, request, context),
    adjustStock: (request, context) => adjustStock(deps, request, context),
    checkAvailability: (request, context) => checkAvailability(deps, request, context),
    watchStock: (request, context) => watchStock(deps, request, context),
  };
}

/** The list of products, joined with their stock. */
async function listStock(deps: ServiceDeps, request: ListStockRequest, context: HandlerContext) {
  refuseBranch(request.branchId);
  const { tenant } = scopeOf(context);
  const after = decodePageToken(ListStockRequestSchema, request);
  const { items, next } = await stockPage(deps, tenant, after, pageSizeOf(request), request.lowOnly);
  return {
    stocks: items.map(({ id, state }) => stockView(id, state)),
    nextPageToken: encodePageToken(ListStockRequestSchema, request, next),
  };
}

function stockPage(
  { client }: ServiceDeps,
  tenant: string,
  after: ReturnType<typeof decodePageToken>,
  pageSize: number,
  lowOnly: boolean,
) {
  return listRecords(client, {
    tenant,
    list: "products",
    kind: STOCK_KIND,
    schema: StockStateSchema,
    after,
    pageSize,
    matchesEntry: () => true,
    matchesRecord: (state) => state.opened && (!lowOnly || availableOf(state) <= state.lowStockThreshold),
  });
}

async function adjustStock(deps: ServiceDeps, request: AdjustStockRequest, context: HandlerContext) {
  refuseBranch(request.branchId);
  const { productId, delta, force, reason } = request;
  const identity = identifyWrite(AdjustStockRequestSchema, request, context, deps.random);
  const { message } = await send(deps, context, {
    method: AdjustmentActor.method.adjust,
    key: identity.actorKey("adj"),
    message: { productId, delta, force, reason },
    identity,
  });
  return { stock: stockView(productId, adjusted(productId, message)) };
}

function adjusted(productId: string, { status, available, stock }: AdjustmentReply): StockState {
  switch (status) {
    case AdjustmentStatus.APPLIED:
      if (stock !== undefined) return stock;
      break;
    case AdjustmentStatus.INSUFFICIENT:
      throw edgeError(
        "INSUFFICIENT_STOCK",
        `only ${available} units of ${productId} are available; use force to take more`,
        {
          metadata: { product_id: productId, available: String(available) },
        },
      );
    case AdjustmentStatus.NO_PRODUCT:
      throw notFound("product", productId);
    case AdjustmentStatus.OUT_OF_RANGE:
      throw edgeError("AMOUNT_OUT_OF_RANGE", `the stock of ${productId} cannot be counted any more`, {
        metadata: { product_id: productId },
      });
    default:
  }
  throw edgeError("INTERNAL", "internal error", {
    cause: new Error(`adjustment of ${productId} ended as ${status}`),
  });
}

async function checkAvailability(
  { client }: ServiceDeps,
  request: CheckAvailabilityRequest,
  context: HandlerContext,
) {
  refuseBranch(request.branchId);
  const { tenant } = scopeOf(context);
  const requested = new Map<string, bigint>();
  for (const { productId, quantity } of request.lines) {
    requested.set(productId, (requested.get(productId) ?? 0n) + BigInt(quantity));
  }
  const ids = [...requested.keys()].sort();
  const stocks = await client.readMany(STOCK_KIND, StockStateSchema, tenant, ids);
  const lines = ids.map((productId) => {
    const state = stocks.get(productId)?.state;
    if (state?.opened !== true) throw notFound("product", productId);
    const available = availableOf(state);
    const wanted = requested.get(productId) ?? 0n;
    return { productId, requested: wanted, available, sufficient: available >= wanted };
  });
  return { lines, allAvailable: lines.every(({ sufficient }) => sufficient) };
}

/** Stock now, then each change, the newest of a product when it changes faster than the reader reads. */
async function* watchStock(
  deps: ServiceDeps,
  { productIds, cursor }: WatchStockRequest,
  context: HandlerContext,
): AsyncGenerator<StockEvent> {
  const { tenant } = scopeOf(context);
  const { clock, limits } = deps;
  const resume = parseCursor(cursor);
  const wanted = new Set(productIds);
  const { signal } = context;
  const mailbox = createMailbox<RecordUpdate<typeof StockStateSchema>>({
    clock,
    signal,
    heartbeatMs: limits.heartbeatMs,
    keysMax: limits.watchPendingMax,
    intervalMs: limits.stockIntervalMs,
  });
  const revisions = new LRUCache<string, bigint>({ max: SEEN_MAX });
  const offer = (change: RecordUpdate<typeof StockStateSchema>) => {
    if (wanted.size === 0 || wanted.has(change.key)) mailbox.put(change.key, change);
  };
  const feed = deps.stockFeeds.join(tenant, offer);
  let position = resume ?? 0;
  try {
    await untilReady(feed, clock, signal);
    const missed = resume === undefined ? undefined : feed.since(resume);
    for (const change of missed ?? []) offer(change);
    let needsSnapshot = missed === undefined;
    for (;;) {
      if (needsSnapshot) {
        position = feed.newest;
        const stocks = await snapshot(deps, tenant, productIds);
        for (const { id, state } of stocks) revisions.set(id, state.revision);
        const views = stocks.map(({ id, state }) => stockView(id, state));
        yield { cursor: positionText(position), event: { case: "snapshot", value: { stocks: views } } };
      }
      const mail = await mailbox.take();
      needsSnapshot = mail.kind === "overflow";
      if (mail.kind === "heartbeat") {
        const time = timestampFromMs(clock.nowMs());
        yield { cursor: positionText(position), event: { case: "heartbeat", value: { time } } };
      }
      if (mail.kind !== "items") continue;
      for (const { key, state, sequence } of mail.items) {
        position = Math.max(position, sequence);
        if (state?.opened !== true || state.revision <= (revisions.get(key) ?? -1n)) continue;
        revisions.set(key, state.revision);
        yield { cursor: positionText(position), event: { case: "update", value: stockView(key, state) } };
      }
    }
  } finally {
    feed.close();
  }
}

/** @throws ConnectError NOT_FOUND for a named product that does not exist */
async function snapshot(deps: ServiceDeps, tenant: string, productIds: readonly string[]) {
  if (productIds.length === 0) return (await stockPage(deps, tenant, undefined, SNAPSHOT_MAX, false)).items;
  const stocks = await deps.client.readMany(STOCK_KIND, StockStateSchema, tenant, productIds);
  return productIds.map((id) => {
    const state = stocks.get(id)?.state;
    if (state?.opened !== true) throw notFound("product", id);
    return { id, state };
  });
}
