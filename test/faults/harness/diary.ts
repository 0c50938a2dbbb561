import { mayFollow, type OrderView, statusOf, totalOf } from "./order-view.ts";
import type { OrderPlan } from "./shop.ts";

/** What one client knows of one order. */
export interface DiaryEntry {
  readonly plan: OrderPlan;
  readonly sentMs: number;
  /** Monotonic time of the first OK; undefined before it. */
  ackedMs: number | undefined;
  order: OrderView | undefined;
  /** Answer of CancelOrder: a status, a refusal's reason, or undefined if it was not cancelled. */
  cancel: string | undefined;
  tries: number;
}

/** Everything that clients were told, and what was wrong with it at once. */
export class Diary {
  readonly entries = new Map<string, DiaryEntry>();
  readonly violations: string[] = [];
  readonly #keyByOrder = new Map<string, string>();

  open(plan: OrderPlan, nowMs: number): DiaryEntry {
    const entry: DiaryEntry = {
      plan,
      sentMs: nowMs,
      ackedMs: undefined,
      order: undefined,
      cancel: undefined,
      tries: 0,
    };
    this.entries.set(plan.key, entry);
    return entry;
  }

  get acked(): number {
    return this.#keyByOrder.size;
  }

  keyOf(orderId: string): string | undefined {
    return this.#keyByOrder.get(orderId);
  }

  /** Notes an answer with an order in it, and compares it with what was said before (I4, I6, I11). */
  heard(key: string, order: OrderView, nowMs: number, source: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return this.blame(`${source}: order ${order.id} has the unknown key ${key}`);
    entry.ackedMs ??= nowMs;
    const before = entry.order;
    if (before === undefined) {
      const other = this.#keyByOrder.get(order.id);
      if (other !== undefined)
        this.blame(`${source}: order ${order.id} belongs to the keys ${other} and ${key}`);
      this.#keyByOrder.set(order.id, key);
      this.#compare(entry, order, source);
      entry.order = order;
      return;
    }
    if (before.id !== order.id)
      return this.blame(`${source}: key ${key} has the orders ${before.id} and ${order.id}`);
    if (totalOf(before) !== totalOf(order))
      this.blame(`${source}: total of ${order.id} was ${totalOf(before)} and is ${totalOf(order)}`);
    const [older, newer] =
      BigInt(order.revision) >= BigInt(before.revision) ? [before, order] : [order, before];
    if (!mayFollow(statusOf(older), statusOf(newer)))
      this.blame(`${source}: order ${order.id} went from ${statusOf(older)} to ${statusOf(newer)}`);
    entry.order = newer;
  }

  blame(text: string): void {
    this.violations.push(text);
  }

  #compare({ plan }: DiaryEntry, order: OrderView, source: string): void {
    if (order.customerId !== plan.customerId)
      this.blame(`${source}: order ${order.id} is of ${order.customerId}, not of ${plan.customerId}`);
    if (order.metadata?.["key"] !== plan.key)
      this.blame(`${source}: order ${order.id} of key ${plan.key} says key ${order.metadata?.["key"]}`);
    const wanted = unitsOf(plan.lines);
    const got = unitsOf(order.lines);
    if (wanted !== got) this.blame(`${source}: order ${order.id} has ${got}, asked for ${wanted}`);
  }
}

/** `hot 3, product-1 2`, lines of one product added up. */
function unitsOf(lines: readonly { readonly productId: string; readonly quantity: number }[]): string {
  const units = new Map<string, number>();
  for (const { productId, quantity } of lines) units.set(productId, (units.get(productId) ?? 0) + quantity);
  return [...units]
    .map(([id, count]) => `${id} ${count}`)
    .toSorted()
    .join(", ");
}
