import { type OrderView, statusOf, totalOf } from "./order-view.ts";

/** One operation of the provider's own book. */
export interface LedgerEntry {
  readonly operation: "authorize" | "capture" | "void" | "refund";
  readonly key: string;
  readonly authorizationKey: string;
  readonly amount: string;
  readonly status: "approved" | "declined";
}

/** What the provider did for one order. */
interface Account {
  readonly captures: bigint[];
  readonly refunds: bigint[];
  readonly authorized: Set<string>;
  readonly closed: Set<string>;
}

/** Reads the provider's book. */
export async function readLedger(pspUrl: string): Promise<readonly LedgerEntry[]> {
  const response = await fetch(`${pspUrl}/ledger`, { signal: AbortSignal.timeout(10_000) });
  return ((await response.json()) as { entries: LedgerEntry[] }).entries;
}

/** What the provider has taken and given back, all orders together. */
export interface MoneyTotals {
  readonly captured: bigint;
  readonly refunded: bigint;
  readonly captures: number;
}

/**
 * Compares the provider's book with the orders (I3): a confirmed order is charged its total once and keeps nothing
 * back; any other is charged nothing, or paid back once; no authorisation stays open; nobody is charged without an
 * order.
 */
export function checkMoney(
  ledger: readonly LedgerEntry[],
  orders: readonly OrderView[],
): { readonly violations: string[]; readonly totals: MoneyTotals } {
  const accounts = accountsOf(ledger);
  const violations: string[] = [];
  let captured = 0n;
  let refunded = 0n;
  let captures = 0;
  for (const order of orders) {
    const account = accounts.get(order.id);
    accounts.delete(order.id);
    if (account === undefined) {
      if (statusOf(order) === "CONFIRMED")
        violations.push(`money: confirmed order ${order.id} was never charged`);
      continue;
    }
    captured += sum(account.captures);
    refunded += sum(account.refunds);
    captures += account.captures.length;
    violations.push(...checkAccount(order, account));
  }
  for (const [id, { captures: charged }] of accounts)
    violations.push(
      `money: ${id} is no order, and its authorisation was ${charged.length > 0 ? "captured" : "made"}`,
    );
  return { violations, totals: { captured, refunded, captures } };
}

function checkAccount(order: OrderView, { captures, refunds, authorized, closed }: Account): string[] {
  const found: string[] = [];
  const status = statusOf(order);
  const [taken, back] = [sum(captures), sum(refunds)];
  if (captures.length > 1) found.push(`was charged ${captures.length} times`);
  if (refunds.length > 1) found.push(`was paid back ${refunds.length} times`);
  if (captures.length === 1 && taken !== totalOf(order))
    found.push(`was charged ${taken} of ${totalOf(order)}`);
  const due = status === "CONFIRMED" ? totalOf(order) : 0n;
  if (taken - back !== due) found.push(`should have cost ${due}: charged ${taken}, paid back ${back}`);
  const open = [...authorized].filter((key) => !closed.has(key));
  if (open.length > 0) found.push(`has the open authorisation ${open.join(", ")}`);
  return found.map((text) => `money: ${status} order ${order.id} ${text}`);
}

function accountsOf(ledger: readonly LedgerEntry[]): Map<string, Account> {
  const accounts = new Map<string, Account>();
  for (const { operation, authorizationKey, amount, status } of ledger) {
    if (status !== "approved") continue;
    const id = authorizationKey.slice(0, authorizationKey.lastIndexOf(":"));
    const account = accounts.get(id) ?? {
      captures: [],
      refunds: [],
      authorized: new Set(),
      closed: new Set(),
    };
    accounts.set(id, account);
    if (operation === "authorize") account.authorized.add(authorizationKey);
    else account.closed.add(authorizationKey);
    if (operation === "capture") account.captures.push(BigInt(amount));
    if (operation === "refund") account.refunds.push(BigInt(amount));
  }
  // A void of an authorisation that never was is no charge and needs no order.
  for (const [id, { authorized, captures }] of accounts)
    if (authorized.size === 0 && captures.length === 0) accounts.delete(id);
  return accounts;
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n);
}
