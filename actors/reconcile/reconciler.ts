import type {
  AnalyticsState,
  Ranking,
} from "../../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import type { ArchiveState } from "../../proto/gen/tradewind/actors/archive/v1/archive_actor_pb.ts";
import {
  LineStock,
  MoneyStep,
  OrderStatus,
  type OrderState,
} from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { CallStep, type PaymentState } from "../../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import type { StockState } from "../../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { figuresOf as archivedFigures } from "../shared/archived-sums.ts";
import { type Figures, stockKey } from "../shared/order-figures.ts";
import { Comparison, SAMPLES_MAX, type Check } from "./findings.ts";
import { ExpectedAnalytics } from "./recompute.ts";

/** A record with its key. */
export interface Keyed<S> {
  readonly key: string;
  readonly state: S;
}

/** All records of one tenant, as they were read. */
export interface Books {
  readonly orders: Iterable<Keyed<OrderState>>;
  readonly payments: Iterable<Keyed<PaymentState>>;
  readonly stocks: Iterable<Keyed<StockState>>;
  readonly analytics: Iterable<Keyed<AnalyticsState>>;
  /** Ledgers of archived orders. */
  readonly archive?: Iterable<Keyed<ArchiveState>>;
  /** When they were read. */
  readonly nowMs: number;
  /** What changed later than this before it may still be on its way elsewhere; 3,000 by default. */
  readonly settleMs?: number;
}

export interface ReconcileReport {
  readonly checks: readonly Check[];
  readonly orders: number;
  /** Of which nothing but their figures is left. */
  readonly ordersArchived: bigint;
  /** Not settled: something will still happen by itself. */
  readonly ordersOpen: number;
}

const SETTLE_MS = 3_000;
const { PENDING, AWAITING_PAYMENT, CONFIRMED, CANCELLING, COMPENSATING } = OrderStatus;

/** What orders say of one product. */
interface ProductUse {
  held: bigint;
  sold: bigint;
  returned: bigint;
  /** A hold is under way: what the stock has reserved is not known to the order yet. */
  isMoving: boolean;
}

/** Proves that the books of one tenant agree, or says where they do not. Pure: give it the records. */
export function reconcile(books: Books): ReconcileReport {
  const orders = new OrderBooks();
  for (const { key, state } of books.orders) orders.add(key, state);
  for (const { state } of books.archive ?? []) orders.addArchived(state);
  const isMoving = orders.newestMs > BigInt(books.nowMs - (books.settleMs ?? SETTLE_MS));
  const checks = [
    ...stockChecks(books.stocks, orders.products, isMoving),
    ...paymentChecks(books.payments, orders, isMoving),
    orders.steps.finish(isMoving),
    orders.goods.finish(isMoving),
    ...analyticsChecks(books.analytics, orders.analytics, isMoving),
  ];
  return { checks, orders: orders.count, ordersArchived: orders.archived, ordersOpen: orders.open };
}

interface OrderMoney {
  readonly captured: bigint;
  readonly refunded: bigint;
  readonly attempts: number;
  readonly isOpen: boolean;
  /** What should be captured less refunded when nothing is under way. */
  readonly due: bigint | undefined;
}

class OrderBooks {
  readonly products = new Map<string, ProductUse>();
  readonly money = new Map<string, OrderMoney>();
  readonly analytics = new ExpectedAnalytics();
  readonly steps = new Comparison("order_steps", "open orders that have a next step");
  readonly goods = new Comparison(
    "order_goods",
    "orders that ended have no goods, and only confirmed ones have sold any",
  );
  count = 0;
  archived = 0n;
  open = 0;
  newestMs = 0n;

  add(key: string, order: OrderState): void {
    this.#moved(order.archivedMs === 0n ? order.updatedMs : order.archivedMs);
    if (order.archivedMs !== 0n) return; // its figures are in a ledger
    this.count += 1;
    if (isOpen(order)) this.open += 1;
    this.steps.compare(key, "next step", hasStep(order) ? "next step" : "none", false);
    this.goods.compare(key, "", stray(order), false);
    this.analytics.add(order);
    this.money.set(key, moneyOf(order));
    for (const { productId, quantity, stock } of order.lines) {
      const use = this.#useOf(productId);
      const units = BigInt(quantity);
      if (stock === LineStock.HELD) use.held += units;
      if (stock === LineStock.COMMITTED || stock === LineStock.RETURNED) use.sold += units;
      if (stock === LineStock.RETURNED) use.returned += units;
      if (order.holding) use.isMoving = true;
    }
  }

  addArchived({ sums, orders, updatedMs }: ArchiveState): void {
    this.#moved(updatedMs);
    this.archived += orders;
    for (const [key, archived] of Object.entries(sums)) {
      if (!key.startsWith(STOCK_PREFIX)) {
        this.analytics.addArchived(key, archivedFigures(archived));
        continue;
      }
      const use = this.#useOf(key.slice(STOCK_PREFIX.length));
      use.sold += archived.sold;
      use.returned += archived.returned;
    }
  }

  #moved(atMs: bigint): void {
    if (atMs > this.newestMs) this.newestMs = atMs;
  }

  #useOf(productId: string): ProductUse {
    const use = this.products.get(productId) ?? { held: 0n, sold: 0n, returned: 0n, isMoving: false };
    this.products.set(productId, use);
    return use;
  }
}

const STOCK_PREFIX = stockKey("");

function isOpen({ status, money, holding }: OrderState): boolean {
  if (status === PENDING || status === CANCELLING || status === COMPENSATING || holding) return true;
  if (status === AWAITING_PAYMENT) return money === MoneyStep.AUTHORIZING;
  return money === MoneyStep.CAPTURING || money === MoneyStep.CLOSING;
}

function hasStep({ status, money, holding, armedMs }: OrderState): boolean {
  if (status === PENDING || status === AWAITING_PAYMENT) return armedMs > 0n;
  if (status === CANCELLING || status === COMPENSATING) return holding || money === MoneyStep.CLOSING;
  return true;
}

const { UNSPECIFIED, CLOSING, CLOSED } = MoneyStep;
const { REJECTED, EXPIRED, CANCELLED, FAILED } = OrderStatus;
const ENDED: ReadonlySet<OrderStatus> = new Set([REJECTED, EXPIRED, CANCELLED, FAILED]);

/** What the order has and should not have. */
function stray({ status, lines, money, capturedMs, returnedMs }: OrderState): string {
  const isWaiting = status === PENDING || status === AWAITING_PAYMENT;
  const wrong = lines.filter(
    ({ stock }) =>
      (stock === LineStock.HELD && !isWaiting) ||
      (stock === LineStock.COMMITTED && status !== CONFIRMED) ||
      (stock === LineStock.RETURNED && capturedMs !== 0n && returnedMs === 0n),
  );
  const isMoneyGone = money === UNSPECIFIED || money === CLOSING || money === CLOSED;
  return [
    ...wrong.map(({ productId }) => productId),
    ...(ENDED.has(status) && !isMoneyGone ? ["money"] : []),
  ].join(" ");
}

function moneyOf(order: OrderState): OrderMoney {
  const { captured, refunded, attempts, status, total, money } = order;
  const open = isOpen(order) || money === MoneyStep.AUTHORIZED;
  const due = open ? undefined : status === CONFIRMED ? total - refunded : 0n;
  return { captured, refunded, attempts, isOpen: open, due };
}

function* stockChecks(
  stocks: Iterable<Keyed<StockState>>,
  uses: ReadonlyMap<string, ProductUse>,
  isMoving: boolean,
): Generator<Check> {
  const reserved = new Comparison("stock_reserved", "units reserved in stock against holds of orders");
  const sold = new Comparison("stock_sold", "units sold by stock against lines of confirmed orders");
  const returned = new Comparison("stock_returned", "units put back against lines of undone orders");
  const onHand = new Comparison("stock_on_hand", "units on hand against received − sold + returned");
  const below: string[] = [];
  const missing = new Set(uses.keys());
  for (const { key, state } of stocks) {
    const use = uses.get(key) ?? { held: 0n, sold: 0n, returned: 0n, isMoving: false };
    missing.delete(key);
    reserved.compare(key, use.held, state.reserved, use.isMoving);
    sold.compare(key, use.sold, state.sold, false);
    returned.compare(key, use.returned, state.returned, false);
    onHand.compare(key, state.received - state.sold + state.returned, state.onHand, false);
    if (state.onHand < 0n) below.push(key);
  }
  for (const key of missing) {
    const use = uses.get(key);
    if (use !== undefined) reserved.compare(key, use.held + use.sold, 0n, use.isMoving);
  }
  yield* [reserved, sold, returned, onHand].map((each) => each.finish(isMoving));
  yield {
    name: "stock_below_zero",
    verdict: "clean",
    expected: "0 products",
    actual: `${below.length} products`,
    text: "products with less than nothing on hand: only a forced change does that",
    samples: below.slice(0, SAMPLES_MAX),
  };
}

function* paymentChecks(
  payments: Iterable<Keyed<PaymentState>>,
  { money }: OrderBooks,
  isMoving: boolean,
): Generator<Check> {
  const captured = new Comparison("payment_captured", "captured by payments against booked by orders");
  const refunded = new Comparison("payment_refunded", "refunded by payments against booked by orders");
  const due = new Comparison(
    "payment_due",
    "captured less refunded: the total of a confirmed order, else nothing",
  );
  const closed = new Comparison(
    "payment_closed",
    "authorisations of orders that ended are voided or captured",
  );
  const unseen = new Set(money.keys());
  for (const { key, state } of payments) {
    if (state.archivedMs !== 0n) continue; // so is its order
    const order = money.get(key);
    unseen.delete(key);
    if (order === undefined) {
      captured.compare(key, "an order", "none", false);
      continue;
    }
    captured.compare(key, order.captured, state.captured, order.isOpen);
    refunded.compare(key, order.refunded, state.refunded, order.isOpen);
    if (order.due === undefined) continue;
    due.compare(key, order.due, state.captured - state.refunded, state.refunding > 0n);
    closed.compare(key, "closed", isHanging(state) ? "authorised" : "closed", false);
  }
  for (const key of unseen) {
    const order = money.get(key);
    if (order !== undefined && order.attempts > 0) captured.compare(key, "a payment", "none", order.isOpen);
  }
  yield* [captured, refunded, due, closed].map((each) => each.finish(isMoving));
}

/** True if the provider may hold money for it that is neither captured nor on its way back. */
function isHanging({ attempts, captured, closed }: PaymentState): boolean {
  return captured === 0n && !closed && attempts.at(-1)?.authorization === CallStep.APPROVED;
}

function* analyticsChecks(
  records: Iterable<Keyed<AnalyticsState>>,
  expected: ExpectedAnalytics,
  isMoving: boolean,
): Generator<Check> {
  const sums = new Comparison(
    "analytics_sums",
    "totals, products, customers, minutes and funnel against the orders",
  );
  const rankings = new Comparison("analytics_rankings", "rankings against the orders");
  const missing = new Set(expected.records.keys());
  const ranked = expected.rankings();
  const unranked = new Set(ranked.keys());
  for (const { key, state } of records) {
    missing.delete(key);
    const { record } = state;
    if (record.case === "topCustomers") {
      compareRanking(rankings, `${key}/spent`, record.value.spent, ranked, unranked);
    } else if (record.case === "topProducts") {
      compareRanking(rankings, `${key}/revenue`, record.value.revenue, ranked, unranked);
      compareRanking(rankings, `${key}/units`, record.value.units, ranked, unranked);
    } else if (record.case !== undefined) {
      sums.compare(key, describe(expected.records.get(key) ?? {}), describe(figuresOf(record)), false);
    }
  }
  for (const key of missing) sums.compare(key, describe(expected.records.get(key) ?? {}), "none", false);
  for (const key of unranked) rankings.compare(key, "a ranking", "none", false);
  yield sums.finish(isMoving);
  yield rankings.finish(isMoving);
}

function figuresOf(record: Exclude<AnalyticsState["record"], { case: undefined }>): Figures {
  if (record.case === "funnel") {
    const { reached, reasons } = record.value;
    return { ...prefixed("reached.", reached), ...prefixed("reasons.", reasons) };
  }
  return Object.fromEntries(
    Object.entries(record.value).filter(([, value]) => typeof value === "bigint"),
  ) as Figures;
}

function prefixed(prefix: string, counts: Readonly<Record<string, bigint>>): Figures {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [prefix + name, count]));
}

/** Figures as text, those of 0 left out. */
function describe(figures: Figures): string {
  const names = Object.keys(figures).toSorted((a, b) => (a < b ? -1 : 1));
  return names
    .filter((name) => figures[name] !== 0n)
    .map((name) => `${name}=${figures[name]}`)
    .join(" ");
}

function compareRanking(
  comparison: Comparison,
  name: string,
  ranking: Ranking | undefined,
  expected: ReadonlyMap<string, ReadonlyMap<string, bigint>>,
  unranked: Set<string>,
): void {
  unranked.delete(name);
  const scores = expected.get(name) ?? new Map<string, bigint>();
  const candidates = ranking?.scores ?? {};
  for (const [id, score] of Object.entries(candidates))
    comparison.compare(`${name}/${id}`, scores.get(id) ?? 0n, score, false);
  for (const [id, score] of scores) {
    if (Object.hasOwn(candidates, id) || score <= (ranking?.floor ?? 0n)) continue;
    comparison.compare(`${name}/${id}`, score, `outside, floor ${ranking?.floor ?? 0n}`, false);
  }
}
