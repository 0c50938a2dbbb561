import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { AnalyticsStateSchema } from "../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import {
  type AnalyticsService,
  type GetSalesSeriesRequest,
  type ListSalesByProductRequest,
  ListSalesByProductRequestSchema,
  WatchSalesByProductRequestSchema,
  WatchSalesSeriesRequestSchema,
  WatchTopCustomersRequestSchema,
  WatchTopProductsRequestSchema,
  WatchTotalSalesRequestSchema,
} from "../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { scopeOf } from "./call-scope.ts";
import { fieldError } from "./connect-errors.ts";
import { parseCursor, positionText } from "./cursor.ts";
import {
  allProductSales,
  ANALYTICS_KIND,
  figureKeys,
  type FigureScope,
  MINUTE_MS,
  productSales,
  salesSeries,
  topCustomers,
  topProducts,
  totalSales,
} from "./figures.ts";
import { fingerprint, fingerprintForm } from "./idempotency.ts";
import { createMailbox } from "./mailbox.ts";
import { decodePageToken, encodePageToken, pageSizeOf } from "./page-token.ts";
import { untilReady } from "./record-feed.ts";
import type { ServiceDeps } from "./service-deps.ts";

const BUCKETS_DEFAULT = 60;
const BUCKETS_MAX = 1_440;
const WANTED_FORM = fingerprintForm(["cursor"]);

/** Edge of the figures. */
export function analyticsService(deps: ServiceDeps): ServiceImpl<typeof AnalyticsService> {
  const scope = (request: CurrencyRequest, context: HandlerContext) => figureScope(deps, request, context);
  const top = (limit: number) => limit || deps.limits.topDefault;
  return {
    getTotalSales: async (request, context) => ({
      totalSales: await totalSales(await scope(request, context)),
    }),
    getSalesByProduct: async (request, context) =>
      productSales(await scope(request, context), request.productId),
    getTopCustomers: async (request, context) => ({
      topCustomers: await topCustomers(await scope(request, context), top(request.limit)),
    }),
    getTopProducts: async (request, context) => ({
      topProducts: await topProducts(await scope(request, context), top(request.limit), request.measure),
    }),
    getSalesSeries: async (request, context) => {
      const { firstMinute, count } = rangeOf(request, deps.clock.nowMs());
      return { series: await salesSeries(await scope(request, context), firstMinute, count) };
    },
    listSalesByProduct: (request, context) => listSalesByProduct(deps, request, context),
    watchTotalSales: (request, context) =>
      watchFigures(deps, WatchTotalSalesRequestSchema, request, context, {
        key: ({ currency }) => figureKeys.total(currency),
        compute: totalSales,
      }),
    watchSalesByProduct: (request, context) =>
      watchFigures(deps, WatchSalesByProductRequestSchema, request, context, {
        key: ({ currency }) => figureKeys.product(currency, request.productId),
        compute: async (figures) => (await productSales(figures, request.productId)).sales,
      }),
    watchTopCustomers: (request, context) =>
      watchFigures(deps, WatchTopCustomersRequestSchema, request, context, {
        key: ({ currency }) => figureKeys.topCustomers(currency),
        compute: (figures) => topCustomers(figures, top(request.limit)),
      }),
    watchTopProducts: (request, context) =>
      watchFigures(deps, WatchTopProductsRequestSchema, request, context, {
        key: ({ currency }) => figureKeys.topProducts(currency),
        compute: (figures) => topProducts(figures, top(request.limit), request.measure),
      }),
    watchSalesSeries: (request, context) =>
      watchFigures(deps, WatchSalesSeriesRequestSchema, request, context, {
        // Every sale is in the total too: one key stands for all minutes.
        key: ({ currency }) => figureKeys.total(currency),
        compute: (figures) => {
          const count = request.buckets || BUCKETS_DEFAULT;
          return salesSeries(figures, Math.floor(deps.clock.nowMs() / MINUTE_MS) - count + 1, count);
        },
      }),
  };
}

interface CurrencyRequest {
  readonly currencyCode: string;
}

async function figureScope(
  { client, tenants }: ServiceDeps,
  { currencyCode }: CurrencyRequest,
  context: HandlerContext,
): Promise<FigureScope> {
  const { tenant } = scopeOf(context);
  return { client, tenant, currency: currencyCode || (await tenants.currency(tenant)) };
}

/** @throws ConnectError VALIDATION when there are more buckets than one answer holds */
function rangeOf({ range }: GetSalesSeriesRequest, nowMs: number): { firstMinute: number; count: number } {
  const lastMinute =
    range?.end === undefined
      ? Math.floor(nowMs / MINUTE_MS)
      : Math.ceil(timestampMs(range.end) / MINUTE_MS) - 1;
  const firstMinute =
    range?.start === undefined
      ? lastMinute - BUCKETS_DEFAULT + 1
      : Math.floor(timestampMs(range.start) / MINUTE_MS);
  const count = Math.max(0, lastMinute - firstMinute + 1);
  if (count > BUCKETS_MAX)
    throw fieldError("range", `holds ${count} buckets, at most ${BUCKETS_MAX} are given`, "range");
  return { firstMinute, count };
}

async function listSalesByProduct(
  deps: ServiceDeps,
  request: ListSalesByProductRequest,
  context: HandlerContext,
) {
  const figures = await figureScope(deps, request, context);
  const from = decodePageToken(ListSalesByProductRequestSchema, request)?.createdMs ?? 0;
  const all = await allProductSales(figures);
  const end = from + pageSizeOf(request);
  const { asOf } = await totalSales(figures);
  const next = end < all.length ? { createdMs: end, id: "" } : undefined;
  return {
    products: all.slice(from, end),
    nextPageToken: encodePageToken(ListSalesByProductRequestSchema, request, next),
    ...(asOf === undefined ? {} : { asOf }),
  };
}

/** What every Watch of figures answers with; `value` is of the type of its method. */
type FigureEvent<T> = {
  cursor: string;
  event:
    | { case: "snapshot"; value: T }
    | { case: "update"; value: T }
    | { case: "heartbeat"; value: { time: ReturnType<typeof timestampFromMs> } };
};

/** What a watcher of figures wants. */
interface FigureWatch<T> {
  /** Key of the record whose changes mean that the figures may differ. */
  readonly key: (figures: FigureScope) => string;
  readonly compute: (figures: FigureScope) => Promise<T>;
}

/**
 * Figures now, then whenever they differ, at most four times a second. They are looked at with each heartbeat too, so
 * that a window of time moves on and a lost change is made good. Watchers of the same figures share one computation.
 */
async function* watchFigures<D extends DescMessage, T extends MessageInitShape<DescMessage>>(
  deps: ServiceDeps,
  schema: D,
  request: MessageShape<D> & CurrencyRequest & { readonly cursor: string },
  context: HandlerContext,
  { key, compute }: FigureWatch<T>,
): AsyncGenerator<FigureEvent<T>> {
  const { client, clock, limits, board } = deps;
  const { signal } = context;
  let position = parseCursor(request.cursor) ?? 0;
  const figures = await figureScope(deps, request, context);
  const { tenant, currency } = figures;
  const { heartbeatMs, aggregateIntervalMs: intervalMs } = limits;
  const mailbox = createMailbox<Change>({ clock, signal, heartbeatMs, keysMax: 1, intervalMs });
  const watch = client.watch(ANALYTICS_KIND, AnalyticsStateSchema, tenant, key(figures), ({ sequence }) =>
    mailbox.put("changed", { sequence, atMs: clock.monotonicMs() }),
  );
  const wanted = Buffer.from(fingerprint(schema, request, WANTED_FORM)).toString("base64");
  const name = `${tenant}/${schema.typeName}/${currency}/${wanted}`;
  const post = (notBeforeMs: number) => board.get(name, notBeforeMs, () => compute(figures));
  try {
    await untilReady(watch, clock, signal);
    let { value, text } = await post(clock.monotonicMs());
    yield { cursor: positionText(position), event: { case: "snapshot", value } };
    for (;;) {
      const mail = await mailbox.take();
      const change = mail.kind === "items" ? mail.items.at(-1) : undefined;
      position = change?.sequence ?? position;
      const before = text;
      ({ value, text } = await post(change?.atMs ?? clock.monotonicMs() - intervalMs));
      if (text !== before) {
        yield { cursor: positionText(position), event: { case: "update", value } };
      } else if (mail.kind === "heartbeat") {
        const time = timestampFromMs(clock.nowMs());
        yield { cursor: positionText(position), event: { case: "heartbeat", value: { time } } };
      }
    }
  } finally {
    watch.close();
  }
}

interface Change {
  readonly sequence: number;
  readonly atMs: number;
}
