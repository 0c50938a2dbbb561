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

/** Figures by key. */
export type FigureBook = Map<string, Figures>;

/** Key of a product's counters. */
export const stockKey = (productId: string) => `stock-${productId}`;

/** Adds to what is under a key. */
export function book(figures: FigureBook, key: string, added: Figures): void {
  const record = figures.get(key) ?? {};
  for (const [name, value] of Object.entries(added)) record[name] = (record[name] ?? 0n) + value;
  figures.set(key, record);
}

/** Adds what the projection `analytics` should hold of an order, computed from the order alone, by its keys. */
export function bookOrder(figures: FigureBook, order: OrderState): void {
  book(figures, "funnel", funnelOf(order));
  if (order.capturedMs === 0n) return;
  const { currency, customerId, captured, refunded, capturedMs, returnedMs, refunds, lines } = order;
  const units = lines.reduce((total, { quantity }) => total + BigInt(quantity), 0n);
  const unitsReturned = returnedMs === 0n ? 0n : unitsBack(lines);
  book(figures, `total-${currency}`, {
    gross: captured,
    refunds: refunded,
    orders: 1n,
    units,
    unitsReturned,
  });
  book(figures, minuteOf(currency, capturedMs), { gross: captured, orders: 1n, units });
  if (returnedMs !== 0n) book(figures, minuteOf(currency, returnedMs), { unitsReturned });
  for (const { amount, atMs } of refunds) book(figures, minuteOf(currency, atMs), { refunds: amount });
  book(figures, `customer-${currency}-${customerId}`, { gross: captured, refunds: refunded, orders: 1n });
  for (const line of lines) bookLine(figures, currency, line, returnedMs !== 0n);
}

/** All that an order at rest adds to the ledger of its log when it leaves. */
export function ledgerFigures(order: OrderState): FigureBook {
  const figures: FigureBook = new Map();
  bookOrder(figures, order);
  bookStock(figures, order);
  return figures;
}

/** Adds what an order that holds nothing any more has left in the counters of its products. */
function bookStock(figures: FigureBook, { lines }: OrderState): void {
  for (const { productId, quantity, stock } of lines) {
    const isReturned = stock === LineStock.RETURNED;
    if (stock !== LineStock.COMMITTED && !isReturned) continue;
    const units = BigInt(quantity);
    book(figures, stockKey(productId), { sold: units, returned: isReturned ? units : 0n });
  }
}

function bookLine(figures: FigureBook, currency: string, line: OrderLine, isReturned: boolean): void {
  const { productId, quantity, lineTotal: revenue, refundedNet: revenueRefunded } = line;
  const unitsReturned = isReturned ? unitsBack([line]) : 0n;
  const units = BigInt(quantity);
  const added = { units, unitsReturned, revenue, revenueRefunded, orders: 1n };
  book(figures, `product-${currency}-${productId}`, added);
}

function funnelOf({ status, reason, heldMs, confirmedMs, total }: OrderState): Figures {
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
  return figures;
}

function minuteOf(currency: string, atMs: bigint): string {
  return `minute-${currency}-${atMs / MINUTE_MS}`;
}

function unitsBack(lines: readonly OrderLine[]): bigint {
  const back = lines.filter(({ stock }) => stock === LineStock.RETURNED || stock === LineStock.RELEASED);
  return back.reduce((total, { quantity }) => total + BigInt(quantity), 0n);
}
