import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ActorClient } from "../actors/runtime/index.ts";
import {
  type AnalyticsState,
  AnalyticsStateSchema,
  type CustomerSums,
  type ProductSums,
  type Ranking,
  type SalesSums,
  type TopCustomers as RankedCustomers,
  type TopProducts as RankedProducts,
} from "../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import {
  Bucket,
  Measure,
  type ProductSalesSchema,
  type SalesSeriesSchema,
  type TopCustomersSchema,
  type TopProductsSchema,
  type TotalSalesSchema,
} from "../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { money } from "./views.ts";

export const ANALYTICS_KIND = "analytics";
export const MINUTE_MS = 60_000;

/** Records that are read when a ranking alone is not exact; more products or customers than this are not ranked. */
const RANKED_MAX = 20_000;

/** Keys of the projection's records. */
export const figureKeys = {
  total: (currency: string) => `total-${currency}`,
  minute: (currency: string, minute: number) => `minute-${currency}-${minute}`,
  product: (currency: string, id: string) => `product-${currency}-${id}`,
  customer: (currency: string, id: string) => `customer-${currency}-${id}`,
  topCustomers: (currency: string) => `top-customers-${currency}`,
  topProducts: (currency: string) => `top-products-${currency}`,
} as const;

/** Whose figures, in which currency. */
export interface FigureScope {
  readonly client: ActorClient;
  readonly tenant: string;
  readonly currency: string;
}

type RecordCase = keyof RecordValues;
type RecordOf<C extends RecordCase> = RecordValues[C];
interface RecordValues {
  total: SalesSums;
  minute: SalesSums;
  product: ProductSums;
  customer: CustomerSums;
  topCustomers: RankedCustomers;
  topProducts: RankedProducts;
}

function recordOf<C extends RecordCase>(state: AnalyticsState | undefined, kind: C): RecordOf<C> | undefined {
  const { record } = state ?? {};
  return record?.case === kind ? (record.value as RecordOf<C>) : undefined;
}

async function readFigures(
  { client, tenant }: FigureScope,
  key: string,
): Promise<AnalyticsState | undefined> {
  return (await client.read(ANALYTICS_KIND, AnalyticsStateSchema, { tenant, key })).state;
}

async function readAll<C extends RecordCase>(
  { client, tenant }: FigureScope,
  kind: C,
  keys: readonly string[],
): Promise<readonly (RecordOf<C> | undefined)[]> {
  const found = await client.readMany(ANALYTICS_KIND, AnalyticsStateSchema, tenant, keys);
  return keys.map((key): RecordOf<C> | undefined => recordOf(found.get(key)?.state, kind));
}

function asOf(state: AnalyticsState | undefined): { asOf?: Timestamp } {
  return state === undefined || state.asOfMs === 0n ? {} : { asOf: timestampFromMs(Number(state.asOfMs)) };
}

/** Everything sold so far. */
export async function totalSales(scope: FigureScope): Promise<MessageInitShape<typeof TotalSalesSchema>> {
  const state = await readFigures(scope, figureKeys.total(scope.currency));
  const sums = sumsOf(recordOf(state, "total"));
  const { gross, refunds, orders, units } = sums;
  const { currency } = scope;
  return {
    gross: money(currency, gross),
    refunds: money(currency, refunds),
    net: money(currency, gross - refunds),
    orders,
    units,
    averageOrder: money(currency, orders === 0n ? 0n : (gross * 2n + orders) / (orders * 2n)),
    ...asOf(state),
  };
}

function sumsOf(sums: SalesSums | undefined) {
  const { gross = 0n, refunds = 0n, orders = 0n, units = 0n, unitsReturned = 0n } = sums ?? {};
  return { gross, refunds, orders, units: units - unitsReturned };
}

/** Sales of one product; all 0 when it was never sold. */
export async function productSales(scope: FigureScope, productId: string) {
  const state = await readFigures(scope, figureKeys.product(scope.currency, productId));
  return { sales: salesView(scope.currency, productId, recordOf(state, "product")), ...asOf(state) };
}

function salesView(
  currency: string,
  productId: string,
  sums: ProductSums | undefined,
): MessageInitShape<typeof ProductSalesSchema> {
  return {
    productId,
    name: sums?.name ?? "",
    units: unitsOf(sums),
    revenue: money(currency, revenueOf(sums)),
    orders: sums?.orders ?? 0n,
  };
}

function unitsOf(sums: ProductSums | undefined): bigint {
  return (sums?.units ?? 0n) - (sums?.unitsReturned ?? 0n);
}

function revenueOf(sums: ProductSums | undefined): bigint {
  return (sums?.revenue ?? 0n) - (sums?.revenueRefunded ?? 0n);
}

function spentOf(sums: CustomerSums | undefined): bigint {
  return (sums?.gross ?? 0n) - (sums?.refunds ?? 0n);
}

/** Every product sold, by revenue. */
export async function allProductSales(
  scope: FigureScope,
): Promise<readonly MessageInitShape<typeof ProductSalesSchema>[]> {
  const scored = await scanScores(scope, figureKeys.product(scope.currency, ""), "product", revenueOf);
  const sums = new Map(scored.map(({ id, record }) => [id, record]));
  return scored.sort(byScore).map(({ id }) => salesView(scope.currency, id, sums.get(id)));
}

interface Scored<R> {
  readonly id: string;
  readonly score: bigint;
  readonly record: R;
}

function byScore(a: { score: bigint; id: string }, b: { score: bigint; id: string }): number {
  if (a.score !== b.score) return a.score > b.score ? -1 : 1;
  return a.id < b.id ? -1 : 1;
}

async function scanScores<C extends "product" | "customer">(
  { client, tenant }: FigureScope,
  prefix: string,
  kind: C,
  scoreOf: (record: RecordOf<C>) => bigint,
): Promise<Scored<RecordOf<C>>[]> {
  const found = await client.scan(ANALYTICS_KIND, AnalyticsStateSchema, tenant, prefix, RANKED_MAX);
  return found.flatMap(({ key, state }) => {
    const record = recordOf(state, kind);
    return record === undefined ? [] : [{ id: key.slice(prefix.length), score: scoreOf(record), record }];
  });
}

/** The first of a ranking, undefined where it cannot be sure of them: those outside may have more. */
function firstOf(
  ranking: Ranking | undefined,
  limit: number,
): readonly { id: string; score: bigint }[] | undefined {
  const scores = Object.entries(ranking?.scores ?? {}).map(([id, score]) => ({ id, score }));
  const floor = ranking?.floor ?? 0n;
  const first = scores.sort(byScore).slice(0, limit);
  const last = first.length < limit ? undefined : first.at(-1)?.score;
  return floor === 0n || (last !== undefined && last >= floor) ? first : undefined;
}

/** Customers who spent most. */
export async function topCustomers(
  scope: FigureScope,
  limit: number,
): Promise<MessageInitShape<typeof TopCustomersSchema>> {
  const { currency } = scope;
  const state = await readFigures(scope, figureKeys.topCustomers(currency));
  const scan = () => scanScores(scope, figureKeys.customer(currency, ""), "customer", spentOf);
  const first =
    firstOf(recordOf(state, "topCustomers")?.spent, limit) ?? (await scan()).sort(byScore).slice(0, limit);
  const keys = first.map(({ id }) => figureKeys.customer(currency, id));
  const records = await readAll(scope, "customer", keys);
  const customers = first.map(({ id, score }, index) => ({
    rank: index + 1,
    customerId: id,
    spent: money(currency, score),
    orders: records[index]?.orders ?? 0n,
  }));
  return { customers, ...asOf(state) };
}

/** Products sold most. */
export async function topProducts(
  scope: FigureScope,
  limit: number,
  measure: Measure,
): Promise<MessageInitShape<typeof TopProductsSchema>> {
  const { currency } = scope;
  const isUnits = measure === Measure.UNITS;
  const state = await readFigures(scope, figureKeys.topProducts(currency));
  const rankings = recordOf(state, "topProducts");
  const scan = () =>
    scanScores(scope, figureKeys.product(currency, ""), "product", isUnits ? unitsOf : revenueOf);
  const ranked = firstOf(isUnits ? rankings?.units : rankings?.revenue, limit);
  const first = ranked ?? (await scan()).sort(byScore).slice(0, limit);
  const keys = first.map(({ id }) => figureKeys.product(currency, id));
  const records = await readAll(scope, "product", keys);
  const products = first.map(({ id }, index) => ({
    rank: index + 1,
    sales: salesView(currency, id, records[index]),
  }));
  return { measure: isUnits ? Measure.UNITS : Measure.REVENUE, products, ...asOf(state) };
}

/** Sales of each minute from `firstMinute` on, those without sales included. */
export async function salesSeries(
  scope: FigureScope,
  firstMinute: number,
  count: number,
): Promise<MessageInitShape<typeof SalesSeriesSchema>> {
  const { currency } = scope;
  const minutes = Array.from({ length: count }, (_, index) => firstMinute + index);
  const keys = minutes.map((minute) => figureKeys.minute(currency, minute));
  const records = await readAll(scope, "minute", keys);
  const total = await readFigures(scope, figureKeys.total(currency));
  const points = minutes.map((minute, index) => {
    const { gross, refunds, orders, units } = sumsOf(records[index]);
    return {
      start: timestampFromMs(minute * MINUTE_MS),
      gross: money(currency, gross),
      refunds: money(currency, refunds),
      net: money(currency, gross - refunds),
      orders,
      units,
    };
  });
  return { bucket: Bucket.MINUTE, points, ...asOf(total) };
}
