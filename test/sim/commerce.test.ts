import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { archiveOrders } from "../../actors/archivist/archivist.ts";
import { ACTORS, PROJECTIONS } from "../../actors/kinds.ts";
import { isFinal } from "../../actors/order/order-saga.ts";
import { paymentTasks } from "../../actors/payment/payment-tasks.ts";
import { createMemoryProvider } from "../../actors/payment/provider-memory.ts";
import { reconcile } from "../../actors/reconcile/reconciler.ts";
import { createActorClient } from "../../actors/runtime/client/actor-client.ts";
import { MemoryNats } from "../../actors/runtime/bus/bus-memory.ts";
import type { Bus } from "../../actors/runtime/bus/bus.ts";
import { HandClock } from "../../actors/runtime/client/client-testing.ts";
import { startTaskWorker } from "../../actors/runtime/tasks/task-worker.ts";
import { createTopology } from "../../actors/runtime/topology.ts";
import { startWorker } from "../../actors/runtime/worker/worker.ts";
import { PaymentSimulator } from "../../actors/shared/payment-simulator.ts";
import { line } from "../../actors/testing.ts";
import { silentLogger } from "../../platform/log.ts";
import { seededRandom } from "../../platform/random.ts";
import { AnalyticsStateSchema } from "../../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import { ArchiveStateSchema } from "../../proto/gen/tradewind/actors/archive/v1/archive_actor_pb.ts";
import { OrderActor } from "../../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import {
  OrderStateSchema,
  OrderStatus,
  Wait,
} from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { PaymentStateSchema } from "../../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import { ProductActor } from "../../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import { StockStateSchema } from "../../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";

const TENANT = "demo";
const PRODUCTS = ["p1", "p2", "p3", "p4", "p5"];
const TOKENS = [
  "tok_ok",
  "tok_ok",
  "tok_ok",
  "tok_declined",
  "tok_timeout",
  "tok_unreachable_2",
  "tok_blackout",
  "tok_flaky",
  "tok_late_4000",
  "tok_capture_timeout",
  "tok_capture_declined",
  "tok_void_unreachable_3",
];

/** Every kind with workers, a payment provider and a client, on the memory bus. */
function createShop(seed: number, options: { readonly recordsCachedMax?: number } = {}) {
  const clock = new HandClock();
  const random = seededRandom(seed);
  const nats = new MemoryNats({ clock, random });
  const topology = createTopology({ logs: 4 });
  nats.ensure(topology);
  const base = { clock, random, topology, log: silentLogger };
  const simulator = new PaymentSimulator({ clock });
  const provider = createMemoryProvider(simulator);
  const buses = new Map<string, Bus>();
  /** Records that workers read from the bucket. */
  const cold = { reads: 0 };
  let count = 0;
  const start = (group: string) => {
    const workerId = `w${++count}`;
    const bus = nats.connect(workerId);
    buses.set(group, bus);
    const lastMany = bus.lastMany.bind(bus);
    bus.lastMany = (stream, subjects) => {
      cold.reads += subjects.length - 1; // one is the watermark
      return lastMany(stream, subjects);
    };
    const definitions = { actors: ACTORS, projections: PROJECTIONS };
    return startWorker({ ...base, ...definitions, ...options, bus, group, workerId });
  };
  const startTasks = () => {
    const bus = nats.connect(`t${++count}`);
    buses.set("tasks", bus);
    startTaskWorker({ ...base, bus, services: paymentTasks(provider) });
  };
  /** The process is gone at once; another one starts. */
  const restart = (part: "core" | "analytics" | "tasks") => {
    const bus = buses.get(part);
    if (bus !== undefined) nats.crash(bus);
    if (part === "tasks") startTasks();
    else start(part);
  };
  start("core");
  start("analytics");
  startTasks();
  const client = createActorClient({ ...base, bus: nats.connect("client") });
  const finish = async <T>(promise: Promise<T>): Promise<T> => {
    let isDone = false;
    const watched = promise.finally(() => (isDone = true));
    watched.catch(() => undefined);
    for (let i = 0; i < 2_000 && !isDone; i++) await clock.pass(50);
    return watched;
  };
  const scan = async <S extends DescMessage>(kind: string, schema: S) => {
    const records = await finish(client.scan(kind, schema, TENANT, "", 10_000));
    return records.flatMap(({ key, state }): { key: string; state: MessageShape<S> }[] =>
      state === undefined ? [] : [{ key, state }],
    );
  };
  const reconcileNow = async () =>
    reconcile({
      orders: await scan("order", OrderStateSchema),
      payments: await scan("payment", PaymentStateSchema),
      archive: await scan("archive", ArchiveStateSchema),
      stocks: await scan("stock", StockStateSchema),
      analytics: await scan("analytics", AnalyticsStateSchema),
      nowMs: clock.nowMs(),
    });
  /** Lets everything leave that has not changed for a minute. */
  const archive = () => {
    const options = { ageMs: 60_000, restMs: 50, keepSeconds: 600, signal: new AbortController().signal };
    return archiveOrders({ client, topology, clock, random }, TENANT, options);
  };
  return { clock, random, client, finish, restart, simulator, scan, reconcileNow, archive, cold };
}

type Shop = ReturnType<typeof createShop>;

async function openProducts({ client, finish }: Shop, units: bigint): Promise<void> {
  for (const key of PRODUCTS) {
    const message = { sku: key, name: key, price: 1_000n, currency: "EUR", initialOnHand: units };
    await finish(
      client.call(ProductActor.method.create, { tenant: TENANT, key }, message, {
        requestId: key,
        timeoutMs: 60_000,
      }),
    );
  }
}

function placeOrder({ client, random }: Shop, index: number): Promise<unknown> {
  const pick = <T>(list: readonly T[]) => list[Math.floor(random.float() * list.length)] as T;
  const lines = Array.from({ length: 1 + Math.floor(random.float() * 3) }, () =>
    line(pick(PRODUCTS), 1 + Math.floor(random.float() * 2)),
  );
  const message = { customerId: `c${index % 7}`, lines, methodToken: pick(TOKENS), wait: Wait.ACCEPTED };
  const key = `ord_${index}`;
  return client.call(OrderActor.method.place, { tenant: TENANT, key }, message, {
    requestId: key,
    timeoutMs: 120_000,
  });
}

describe("commerce on the actor runtime", () => {
  it.each([1, 2, 3])(
    "T1, T4, T5, T12, T20, T21 ends every order with clean books though workers are killed (seed %i)",
    async (seed) => {
      const shop = createShop(seed);
      const { clock, client, finish, restart, simulator, random } = shop;
      await openProducts(shop, 25n);
      const parts = ["core", "tasks", "analytics"] as const;
      for (let round = 0; round < 6; round++) {
        const placed = Promise.all(
          Array.from({ length: 20 }, (_, index) => placeOrder(shop, round * 20 + index)),
        );
        await clock.pass(Math.floor(random.float() * 300));
        restart(parts[round % 3] ?? "core");
        await finish(placed);
        const cancelled = client.call(
          OrderActor.method.cancel,
          { tenant: TENANT, key: `ord_${round * 20 + 3}` },
          {},
          { requestId: `cancel-${round}`, timeoutMs: 60_000 },
        );
        await finish(
          cancelled.catch((error: unknown) => expect(error).toMatchObject({ reason: "INVALID_TRANSITION" })),
        );
      }
      for (let i = 0; i < 40; i++) await clock.pass(30_000); // retries, gave-up tasks and deadlines
      const orders = await shop.scan("order", OrderStateSchema);
      expect(orders).toHaveLength(120);
      const open = orders.filter(
        ({ state: { status } }) => !isFinal(status) && status !== OrderStatus.CONFIRMED,
      );
      expect(open.map(({ key, state }) => [key, state.status, state.money])).toEqual([]);
      const report = await shop.reconcileNow();
      expect(report.checks.filter(({ verdict }) => verdict !== "clean")).toEqual([]);
      expect(await finish(client.listDeadLetters(undefined, 10))).toEqual([]);
      for (const { state } of await shop.scan("stock", StockStateSchema)) {
        expect(state.onHand >= 0n && state.reserved === 0n).toBe(true);
      }
      const kept = orders.reduce((sum, { state }) => sum + state.captured - state.refunded, 0n);
      const ledger = simulator.ledger().filter(({ status }) => status === "approved");
      const sum = (operation: string) =>
        ledger
          .filter((entry) => entry.operation === operation)
          .reduce((total, { amount }) => total + BigInt(amount), 0n);
      expect(sum("capture") - sum("refund")).toBe(kept);
      expect(orders.filter(({ state }) => state.status === OrderStatus.CONFIRMED).length).toBeGreaterThan(10);
    },
    60_000,
  );

  it.each([11, 12, 13])(
    "archives what is old though workers are killed (seed %i)",
    async (seed) => {
      const shop = createShop(seed);
      const { clock, client, finish, random, restart } = shop;
      await openProducts(shop, 400n);
      const orders = 300;
      for (let first = 0; first < orders; first += 60)
        await finish(Promise.all(Array.from({ length: 60 }, (_, index) => placeOrder(shop, first + index))));
      for (let i = 0; i < 40; i++) await clock.pass(30_000);
      const archiving = Promise.allSettled([shop.archive(), shop.archive()]);
      for (let kill = 0; kill < 3; kill++) {
        await clock.pass(Math.floor(random.float() * 400));
        restart("core");
        await clock.pass(3_500);
      }
      await finish(archiving);
      expect(await finish(shop.archive())).toMatchObject({ isComplete: true });
      await clock.pass(5_000);
      const report = await shop.reconcileNow();
      expect(report.checks.filter(({ verdict }) => verdict !== "clean")).toEqual([]);
      expect(BigInt(report.orders) + report.ordersArchived).toBe(BigInt(orders));
      expect(report.orders).toBe(0);
      expect(await finish(client.listDeadLetters(undefined, 10))).toEqual([]);
      expect(await finish(shop.archive())).toMatchObject({ archived: 0 });
      await clock.pass(700_000);
      const held = await shop.scan("order", OrderStateSchema);
      expect(held.map(({ state }) => state.archivedMs).filter((atMs) => atMs !== 0n)).toEqual([]);
      expect(held).toHaveLength(report.orders);
    },
    60_000,
  );

  it("sells 200 orders over caches of 32 records: what is evicted is read again, and the books are exact", async () => {
    const shop = createShop(7, { recordsCachedMax: 32 });
    const { clock, client, finish, cold } = shop;
    await openProducts(shop, 400n);
    const orders = 200;
    for (let first = 0; first < orders; first += 40) {
      await finish(Promise.all(Array.from({ length: 40 }, (_, index) => placeOrder(shop, first + index))));
      await clock.pass(1_000);
    }
    for (let i = 0; i < 40; i++) await clock.pass(30_000);
    const read = async (index: number) => {
      const address = { tenant: TENANT, key: `ord_${index}` };
      return (await finish(client.read("order", OrderStateSchema, address))).state?.customerId;
    };
    const before = cold.reads;
    for (let index = 0; index < orders; index++) expect(await read(index)).toBe(`c${index % 7}`);
    expect(cold.reads - before).toBeGreaterThanOrEqual(orders - 4 * 32);
    const report = await shop.reconcileNow();
    expect(report.checks.filter(({ verdict }) => verdict !== "clean")).toEqual([]);
    expect(report).toMatchObject({ orders, ordersOpen: 0 });
    expect(await finish(client.listDeadLetters(undefined, 10))).toEqual([]);
  }, 60_000);
});
