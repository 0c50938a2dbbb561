import {
  LineStock,
  OrderStatus,
  type OrderLine,
  type OrderState,
} from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";

const MINUTE_MS = 60_000n;
const {
  PENDING,
  AWAITING_PAYMENT,
  CONFIRMED,
  CANCELLING,
  CANCELLED,
  COMPENSATING,
  FAILED,
  REJECTED,
  EXPIRED,
} = OrderStatus;

/** Figures by name, such as `gross` of `total-EUR`. */
export type Figures = Record<string, bigint>;

/** Figures by record: what the projection `analytics` should hold, computed from the orders alone. */
export class ExpectedAnalytics {
  readonly records = new Map<string, Figures>();
  /** Scores by ranking, such as `top-products-EUR/units`, and id. */
  readonly rankings = new Map<string, Map<string, bigint>>();

  add(order: OrderState): void {
    this.#funnel(order);
    if (order.capturedMs === 0n) return;
    const { currency, customerId, captured, refunded, capturedMs, returnedMs, refunds, lines } = order;
    const units = lines.reduce((total, { quantity }) => total + BigInt(quantity), 0n);
    const unitsReturned = returnedMs === 0n ? 0n : unitsBack(lines);
    const total = `total-${currency}`;
    this.#book(total, { gross: captured, refunds: refunded, orders: 1n, units, unitsReturned });
    this.#book(minuteOf(currency, capturedMs), { gross: captured, orders: 1n, units });
    if (returnedMs !== 0n) this.#book(minuteOf(currency, returnedMs), { unitsReturned });
    for (const { amount, atMs } of refunds) this.#book(minuteOf(currency, atMs), { refunds: amount });
    this.#book(`customer-${currency}-${customerId}`, { gross: captured, refunds: refunded, orders: 1n });
    this.#score(`top-customers-${currency}/spent`, customerId, captured - refunded);
    for (const line of lines) this.#line(currency, line, returnedMs !== 0n);
  }

  #line(currency: string, line: OrderLine, isReturned: boolean): void {
    const { productId, quantity, lineTotal: revenue, refundedNet: revenueRefunded } = line;
    const units = BigInt(quantity);
    const unitsReturned = isReturned ? unitsBack([line]) : 0n;
    const figures = { units, unitsReturned, revenue, revenueRefunded, orders: 1n };
    this.#book(`product-${currency}-${productId}`, figures);
    this.#score(`top-products-${currency}/revenue`, productId, revenue - revenueRefunded);
    this.#score(`top-products-${currency}/units`, productId, units - unitsReturned);
  }

  #funnel({ status, reason, heldMs, confirmedMs, total }: OrderState): void {
    const reached: OrderStatus[] = [PENDING];
    if (heldMs !== 0n && total !== 0n) reached.push(AWAITING_PAYMENT);
    if (confirmedMs !== 0n) reached.push(CONFIRMED);
    if (status === CANCELLED) reached.push(CANCELLING);
    if (status === FAILED) reached.push(COMPENSATING);
    if (![PENDING, AWAITING_PAYMENT, CONFIRMED].some((early) => early === status)) reached.push(status);
    const turnedAway = [REJECTED, EXPIRED, CANCELLING, CANCELLED, COMPENSATING, FAILED].some(
      (end) => end === status,
    );
    const figures: Figures = Object.fromEntries(reached.map((each) => [`reached.${each}`, 1n]));
    if (turnedAway && reason !== undefined) figures[`reasons.${reason.code}`] = 1n;
    this.#book("funnel", figures);
  }

  #book(key: string, figures: Figures): void {
    const record = this.records.get(key) ?? {};
    for (const [name, value] of Object.entries(figures)) record[name] = (record[name] ?? 0n) + value;
    this.records.set(key, record);
  }

  #score(ranking: string, id: string, score: bigint): void {
    const scores = this.rankings.get(ranking) ?? new Map<string, bigint>();
    scores.set(id, (scores.get(id) ?? 0n) + score);
    this.rankings.set(ranking, scores);
  }
}

function minuteOf(currency: string, atMs: bigint): string {
  return `minute-${currency}-${atMs / MINUTE_MS}`;
}

function unitsBack(lines: readonly OrderLine[]): bigint {
  const back = lines.filter(({ stock }) => stock === LineStock.RETURNED || stock === LineStock.RELEASED);
  return back.reduce((total, { quantity }) => total + BigInt(quantity), 0n);
}
