import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { AnalyticsStateSchema } from "../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import {
  type AnalyticsService,
  type GetSalesSeriesRequest,
  type ListSalesByProductRequest,
  ListSalesByProductRequestSchema,
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
import { createMailbox } from "./mailbox.ts";
import { decodePageToken, encodePageToken, pageSizeOf } from "./page-token.ts";
import { untilReady } from "./record-feed.ts";
import type { ServiceDeps } from "./service-deps.ts";

const BUCKETS_DEFAULT = 60;
const BUCKETS_MAX = 1_440;

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
      watchFigures(deps, request, context, ({ currency }) => figureKeys.total(currency), totalSales),
    watchSalesByProduct: (request, context) =>
      watchFigures(
        deps,
        request,
        context,
        ({ currency }) => figureKeys.product(currency, request.productId),
        async (figures) => (await productSales(figures, request.productId)).sales,
      ),
    watchTopCustomers: (request, context) =>
      watchFigures(
        deps,
        request,
        context,
        ({ currency }) => figureKeys.topCustomers(currency),
        (figures) => topCustomers(figures, top(request.limit)),
      ),
    watchTopProducts: (request, context) =>
      watchFigures(
        deps,
        request,
        context,
        ({ currency }) => figureKeys.topProducts(currency),
        (figures) => topProducts(figures, top(request.limit), request.measure),
      ),
    // Every sale is in the total too: one key stands for all minutes.
    watchSalesSeries: (request, context) =>
      watchFigures(
        deps,
        request,
        context,
        ({ currency }) => figureKeys.total(currency),
        (figures) => {
          const count = request.buckets || BUCKETS_DEFAULT;
          return salesSeries(figures, Math.floor(deps.clock.nowMs() / MINUTE_MS) - count + 1, count);
        },
      ),
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

/**
 * Figures now, then whenever they differ, at most four times a second. They are computed anew at each heartbeat too, so
 * that a window of time moves on and a lost change is made good.
 */
async function* watchFigures<T extends MessageInitShape<DescMessage>>(
  deps: ServiceDeps,
  request: CurrencyRequest & { readonly cursor: string },
  context: HandlerContext,
  keyOf: (figures: FigureScope) => string,
  compute: (figures: FigureScope) => Promise<T>,
): AsyncGenerator<FigureEvent<T>> {
  const { client, clock, limits } = deps;
  const { signal } = context;
  let position = parseCursor(request.cursor) ?? 0;
  const figures = await figureScope(deps, request, context);
  const { heartbeatMs, aggregateIntervalMs: intervalMs } = limits;
  const mailbox = createMailbox<number>({ clock, signal, heartbeatMs, keysMax: 1, intervalMs });
  const watch = client.watch(
    ANALYTICS_KIND,
    AnalyticsStateSchema,
    figures.tenant,
    keyOf(figures),
    ({ sequence }) => mailbox.put("changed", sequence),
  );
  try {
    await untilReady(watch, clock, signal);
    let value = await compute(figures);
    yield { cursor: positionText(position), event: { case: "snapshot", value } };
    for (;;) {
      const mail = await mailbox.take();
      if (mail.kind === "items") position = mail.items.at(-1) ?? position;
      const before = comparable(value);
      value = await compute(figures);
      if (comparable(value) !== before) {
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

/** Figures as text, without the time that they are of: that alone is no news. */
function comparable(value: unknown): string {
  return JSON.stringify(value, (key, inner: unknown) => {
    if (key === "asOf") return undefined;
    return typeof inner === "bigint" ? String(inner) : inner;
  });
}
