import { sleep, systemClock } from "../../../platform/clock.ts";
import { Api } from "./api.ts";
import type { Diary } from "./diary.ts";
import type { FaultSystem } from "./fault-system.ts";
import { checkMoney, type MoneyTotals, readLedger } from "./money.ts";
import { isTerminal, type OrderView, statusOf } from "./order-view.ts";
import type { OrderWatcher } from "./order-watcher.ts";
import { placeRequest, PRODUCTS, SCARCE, SCARCE_STOCK } from "./shop.ts";
import type { StockView } from "./stock-sampler.ts";

/** An accepted order is terminal within this after everything was healed (I5). */
const TERMINAL_MS_MAX = 30_000;
const AGREE_MS_MAX = 20_000;
/** The gateway's own bound of a call; the books of 90,000 orders take seconds to read. */
const RECONCILE_MS_MAX = 30_000;
const POLL_MS = 100;
const READERS = 24;
const REPLAYS = 120;
const REUSED_KEYS = 30;

const GET_ORDER = "/tradewind.order.v1.OrderService/GetOrder";
const LIST_ORDERS = "/tradewind.order.v1.OrderService/ListOrders";
const PLACE_ORDER = "/tradewind.order.v1.OrderService/PlaceOrder";
const GET_STOCK = "/tradewind.inventory.v1.InventoryService/GetStock";
const TOTAL_SALES = "/tradewind.analytics.v1.AnalyticsService/GetTotalSales";
const RECONCILE = "/tradewind.ops.v1.OpsService/Reconcile";
const HISTORY = "/tradewind.order.v1.OrderService/GetOrderHistory";

/** Runs `work` for each item, a few at a time. */
export async function forEach<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const worker = async () => {
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: READERS }, worker));
}

/** Waits until every order that was accepted is terminal; blames those that are not (I4, I5). @returns ms waited */
export async function settleOrders(api: Api, diary: Diary, forMs = TERMINAL_MS_MAX): Promise<number> {
  const startMs = systemClock.monotonicMs();
  let open = [...diary.entries.values()].filter(({ order }) => order !== undefined);
  const look = async (entry: (typeof open)[number]) => {
    const { order, plan } = entry;
    const result = await api.settle<{ order: OrderView }>(
      GET_ORDER,
      { orderId: order?.id },
      { forMs: 10_000 },
    );
    if (result.ok) diary.heard(plan.key, result.value.order, systemClock.monotonicMs(), "GetOrder");
    else diary.blame(`accepted order ${order?.id} cannot be read: ${result.code} ${result.message}`);
  };
  for (;;) {
    // Of when the look began: to look at every order of a long run may itself take longer than that.
    const waitedMs = systemClock.monotonicMs() - startMs;
    await forEach(open, look);
    const blamed = diary.violations.length;
    open = open.filter(({ order }) => order !== undefined && !isTerminal(order));
    if (open.length === 0 || waitedMs > forMs || blamed > 100) break;
    await sleep(systemClock, POLL_MS);
  }
  for (const { order, plan } of open) {
    if (order !== undefined)
      diary.blame(
        `order ${order.id} (${plan.methodToken}) is stuck in ${statusOf(order)} ${order.paymentStatus}`,
      );
  }
  return Math.round(systemClock.monotonicMs() - startMs);
}

/** All orders as the lists have them; blames what no client asked for (I7). */
export async function listOrders(api: Api, diary: Diary): Promise<readonly OrderView[]> {
  const orders = new Map<string, OrderView>();
  const giveUpMs = systemClock.monotonicMs() + AGREE_MS_MAX;
  for (;;) {
    orders.clear();
    for (let pageToken = ""; ;) {
      const request = { pageSize: 500, pageToken };
      const page = await api.must<{ orders?: OrderView[]; nextPageToken?: string }>(LIST_ORDERS, request);
      for (const order of page.orders ?? []) orders.set(order.id, order);
      pageToken = page.nextPageToken ?? "";
      if (pageToken === "") break;
    }
    const isBehind = [...diary.entries.values()].some(
      ({ order }) => order !== undefined && orders.get(order.id)?.revision !== order.revision,
    );
    if (!isBehind || systemClock.monotonicMs() > giveUpMs) break;
    await sleep(systemClock, POLL_MS);
  }
  for (const { order } of diary.entries.values()) {
    if (order === undefined) continue;
    const listed = orders.get(order.id);
    if (listed === undefined) diary.blame(`list: order ${order.id} is missing`);
    else if (listed.revision !== order.revision)
      diary.blame(
        `list: order ${order.id} has revision ${listed.revision}, its owner says ${order.revision}`,
      );
  }
  const keys = new Set<string>();
  for (const order of orders.values()) {
    const key = order.metadata?.["key"] ?? "";
    if (!diary.entries.has(key)) diary.blame(`list: order ${order.id} belongs to no key`);
    if (keys.has(key)) diary.blame(`list: key ${key} has two orders`);
    keys.add(key);
  }
  return [...orders.values()];
}

/** Repeats keys long after their answers: the same order, or a refusal for another request (I6). */
export async function replayKeys(api: Api, diary: Diary): Promise<void> {
  const entries = [...diary.entries.values()].filter(({ order }) => order !== undefined);
  const step = Math.max(1, Math.floor(entries.length / REPLAYS));
  await forEach(
    entries.filter((_, index) => index % step === 0),
    async ({ plan, order }) => {
      const { key } = plan;
      const request = { ...placeRequest(plan), wait: "WAIT_ACCEPTED" };
      const result = await api.settle<{ order: OrderView }>(PLACE_ORDER, request, { key, forMs: 20_000 });
      if (!result.ok) diary.blame(`replay of ${key} was refused: ${result.code} ${result.message}`);
      else if (result.value.order.id !== order?.id)
        diary.blame(`replay of ${key} answered order ${result.value.order.id}, it has ${order?.id}`);
      else if (!result.isReplayed) diary.blame(`replay of ${key} is not marked as replayed`);
    },
  );
  await forEach(entries.slice(0, REUSED_KEYS), async ({ plan }) => {
    const other = { ...plan, customerId: "somebody-else", wait: "WAIT_ACCEPTED" as const };
    const result = await api.settle(PLACE_ORDER, placeRequest(other), { key: plan.key, forMs: 20_000 });
    if (result.ok || result.reason !== "IDEMPOTENCY_KEY_REUSED")
      diary.blame(
        `another request with key ${plan.key} got ${result.ok ? "ok" : `${result.code} ${result.reason}`}`,
      );
  });
}

/** Stock at rest against what confirmed orders have bought (I1, I2). */
async function checkStock(api: Api, orders: readonly OrderView[], diary: Diary): Promise<void> {
  const sold = new Map<string, number>();
  for (const order of orders.filter((each) => statusOf(each) === "CONFIRMED")) {
    for (const { productId, quantity } of order.lines)
      sold.set(productId, (sold.get(productId) ?? 0) + quantity);
  }
  for (const { id, stock } of PRODUCTS) {
    const { onHand = "0", reserved = "0" } = (
      await api.must<{ stock: StockView }>(GET_STOCK, { productId: id })
    ).stock;
    const units = sold.get(id) ?? 0;
    if (Number(onHand) !== stock - units || reserved !== "0")
      diary.blame(
        `stock of ${id} at rest: on hand ${onHand}, reserved ${reserved}; ${units} of ${stock} were bought`,
      );
  }
  if ((sold.get(SCARCE) ?? 0) > SCARCE_STOCK) diary.blame(`${SCARCE} is oversold: ${sold.get(SCARCE)}`);
}

/** Totals against the provider's own book (I8). */
async function checkTotals(
  api: Api,
  { captured, refunded, captures }: MoneyTotals,
  diary: Diary,
): Promise<void> {
  const giveUpMs = systemClock.monotonicMs() + AGREE_MS_MAX;
  const expected = `gross ${captured}, refunds ${refunded}, orders ${captures}`;
  type Sums = Partial<Record<"gross" | "refunds", { minorUnits?: string }>> & { orders?: string };
  for (;;) {
    const {
      gross,
      refunds,
      orders = "0",
    } = (await api.must<{ totalSales: Sums }>(TOTAL_SALES, { currencyCode: "EUR" })).totalSales;
    const actual = `gross ${gross?.minorUnits ?? 0}, refunds ${refunds?.minorUnits ?? 0}, orders ${orders}`;
    if (actual === expected) return;
    if (systemClock.monotonicMs() > giveUpMs)
      return diary.blame(`totals are ${actual}, the provider has ${expected}`);
    await sleep(systemClock, POLL_MS);
  }
}

interface ReconcileAnswer {
  readonly verdict: string;
  readonly checks?: readonly {
    name: string;
    verdict: string;
    expected?: string;
    actual?: string;
    samples?: string[];
  }[];
}

/** The system's own proof that its books agree. */
export async function reconcileClean(api: Api, diary: Diary): Promise<void> {
  const giveUpMs = systemClock.monotonicMs() + AGREE_MS_MAX;
  for (;;) {
    const { verdict, checks = [] } = await api.must<ReconcileAnswer>(RECONCILE, { timeout: "10s" });
    if (verdict === "RECONCILE_VERDICT_CLEAN") return;
    if (systemClock.monotonicMs() > giveUpMs) {
      const bad = checks.filter((check) => check.verdict !== "RECONCILE_VERDICT_CLEAN");
      return diary.blame(`reconcile: ${verdict} ${JSON.stringify(bad)}`);
    }
    await sleep(systemClock, POLL_MS);
  }
}

const HISTORIES = 150;
const ONCE = new Set([
  "placed",
  "held",
  "confirmed",
  "rejected",
  "expired",
  "cancelled",
  "failed",
  "captured",
]);

/** Every event of an order is told once, and its history ends where the order is (I9). */
async function checkHistories(api: Api, orders: readonly OrderView[], diary: Diary): Promise<void> {
  const step = Math.max(1, Math.floor(orders.length / HISTORIES));
  await forEach(
    orders.filter((_, index) => index % step === 0),
    async ({ id }) => {
      const { entries = [] } = await api.must<{ entries?: { event: string }[] }>(HISTORY, { orderId: id });
      const names = entries.map(({ event }) => event);
      if (names[0] !== "placed") diary.blame(`history of ${id} begins with ${names[0] ?? "nothing"}`);
      for (const name of ONCE) {
        const count = names.filter((each) => each === name).length;
        if (count > 1) diary.blame(`history of ${id} has ${count} times ${name}`);
      }
    },
  );
}

/** The watcher has been told the newest state of every order (I9). */
async function checkWatcher(
  watcher: OrderWatcher,
  orders: readonly OrderView[],
  diary: Diary,
): Promise<void> {
  const giveUpMs = systemClock.monotonicMs() + AGREE_MS_MAX;
  const missing = () => orders.filter((order) => !watcher.knows(order));
  while (missing().length > 0 && systemClock.monotonicMs() < giveUpMs) await sleep(systemClock, POLL_MS);
  for (const { id, revision } of missing().slice(0, 20))
    diary.blame(
      `watch: revision ${revision} of ${id} was not told, only ${watcher.seen.get(id)?.revision ?? "nothing"}`,
    );
}

/** What a run ends with; everything has been healed before. @returns how the orders ended */
export async function verify(
  system: FaultSystem,
  diary: Diary,
  watcher: OrderWatcher | undefined,
): Promise<{ readonly settleMs: number; readonly ends: ReadonlyMap<string, number> }> {
  const { api } = system;
  const settleMs = await settleOrders(api, diary);
  const orders = await listOrders(api, diary);
  // Orders that a client gave up on and that exist anyway have to end as well.
  for (const order of orders) {
    const key = order.metadata?.["key"] ?? "";
    if (diary.entries.get(key)?.order === undefined)
      diary.heard(key, order, systemClock.monotonicMs(), "ListOrders");
  }
  await settleOrders(api, diary);
  const final = [...diary.entries.values()].flatMap(({ order }) => (order === undefined ? [] : [order]));
  await replayKeys(api, diary);
  const { violations, totals } = checkMoney(await readLedger(system.pspUrl), final);
  for (const violation of violations) diary.blame(violation);
  await checkStock(api, final, diary);
  await checkTotals(api, totals, diary);
  await checkHistories(api, final, diary);
  if (watcher !== undefined) await checkWatcher(watcher, final, diary);
  const patient = new Api(() => system.gatewayUrls, RECONCILE_MS_MAX);
  await reconcileClean(patient, diary).finally(() => patient.close());
  const ends = new Map<string, number>();
  for (const order of final) ends.set(statusOf(order), (ends.get(statusOf(order)) ?? 0) + 1);
  return { settleMs, ends };
}
