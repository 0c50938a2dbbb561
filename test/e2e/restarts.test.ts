import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AnalyticsService } from "../../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { InventoryService } from "../../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { OpsService, ReconcileVerdict } from "../../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { type Order, OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import { OrderService, Wait } from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { PaymentStatus } from "../../proto/gen/tradewind/payment/v1/payment_pb.ts";
import { PaymentService } from "../../proto/gen/tradewind/payment/v1/payment_service_pb.ts";
import { EUR, failureOf, orderOf, paidBy, SOON, until } from "./calls.ts";
import { type Child, startChild } from "./child.ts";
import { startSystem, type System } from "./system.ts";

/** Answers of the provider that are on their way when the worker is killed take so long. */
const ANSWER_MS = 1_500;
/** A delivery that was not acknowledged comes again after 3 s. */
const REDELIVERED = { ...SOON, timeout: 20_000 };

let system: System;
let core: Child;
beforeAll(async () => {
  system = await startSystem({ groups: ["analytics"] });
  core = await startCore();
  await system.product("tea", 100_000n);
  await place("tok_ok");
});
afterAll(async () => {
  await core.kill();
  await system[Symbol.asyncDispose]();
});

const startCore = () => startChild("actors/main.ts", ["--group", "core"], system.env, '"started"');
const orders = (url?: string) => system.client(OrderService, url);

async function place(token: string, wait: Wait = Wait.SETTLED): Promise<Order> {
  const { order } = await orders().placeOrder({ ...orderOf("tea", 1, token), wait });
  return order ?? expect.fail("no order");
}

const orderNow = async (orderId: string) => (await orders().getOrder({ orderId })).order;
const statusNow = async (orderId: string) => (await orderNow(orderId))?.status;

/** What took effect at the provider for an order, by key. */
const effectsOf = (orderId: string) =>
  system.psp.simulator
    .ledger()
    .filter(({ authorizationKey }) => authorizationKey.startsWith(`${orderId}:`))
    .map(({ key, status }) => `${key.replace(orderId, "order")} ${status}`);

const ONE_CHARGE = ["order:1 approved", "order:1:capture approved"];

describe("a worker that is killed in the middle", () => {
  let authorizing: Order;
  let capturing: Order;
  let cancelling: Order;
  let unpaid: Order;
  let caught: Promise<readonly { order?: Order | undefined }[]>;

  beforeAll(async () => {
    unpaid = await place("", Wait.HELD);
    authorizing = await place(`tok_slow_${ANSWER_MS}`, Wait.HELD);
    capturing = await place(`tok_capture_slow_${ANSWER_MS}`, Wait.HELD);
    cancelling = await place(`tok_capture_slow_${ANSWER_MS}`, Wait.HELD);
    await until(() => effectsOf(authorizing.id).length === 1);
    await until(() => effectsOf(capturing.id).length === 2 && effectsOf(cancelling.id).length === 2);
    await orders().cancelOrder({ orderId: cancelling.id });
    await system.product("caught", 1_000n);
    const authorized = system.psp.simulator.ledger().length;
    caught = Promise.all(
      Array.from({ length: 60 }, (_, i) => orders().placeOrder(orderOf("caught", 1, `tok_slow_${i}`))),
    );
    await until(() => system.psp.simulator.ledger().length > authorized + 20); // in the middle of them
    await core.kill();
    core = await startCore();
  });

  it("T4 has charged once what the provider did before the worker could write it down", async () => {
    for (const { id } of [authorizing, capturing]) {
      await expect.poll(() => statusNow(id), REDELIVERED).toBe(OrderStatus.CONFIRMED);
      await expect.poll(() => effectsOf(id), REDELIVERED).toEqual(ONE_CHARGE);
      const payment = async () =>
        (await system.client(PaymentService).listPayments({ orderId: id })).payments[0];
      await expect
        .poll(payment, REDELIVERED)
        .toMatchObject({ capturedAmount: EUR(1_000n), attempts: [{ number: 1 }] });
    }
  });

  it("T4 pays back once the charge of a cancelled order", async () => {
    await expect.poll(() => statusNow(cancelling.id), REDELIVERED).toBe(OrderStatus.CANCELLED);
    const effects = effectsOf(cancelling.id);
    expect(effects.slice(0, 2)).toEqual(ONE_CHARGE);
    expect(effects).toHaveLength(3); // and one refund
  });

  it("T12 goes on with every order where it stood, and answers those who wait", async () => {
    for (const { order } of await caught) {
      expect(order?.status).toBe(OrderStatus.CONFIRMED);
      await expect.poll(() => effectsOf(order?.id ?? ""), REDELIVERED).toEqual(ONE_CHARGE);
    }
    const stock = async () => (await system.client(InventoryService).getStock({ productId: "caught" })).stock;
    await expect.poll(stock, SOON).toMatchObject({ onHand: 940n, reserved: 0n });
    expect(await statusNow(unpaid.id)).toBe(OrderStatus.AWAITING_PAYMENT);
    const pay = { orderId: unpaid.id, ...paidBy("tok_ok"), timeout: { seconds: 10n } };
    const { payment } = await system.client(PaymentService).payOrder(pay);
    expect(payment?.status).toBe(PaymentStatus.CAPTURED);
  });
});

describe("a gateway that is killed", () => {
  it("T6 loses nothing that it has acknowledged, and what it has not is there once after a repeat", async () => {
    const gateway = await startChild("gateway/main.ts", [], system.env, '"gateway listens"');
    const url = String(gateway.ready["url"]);
    const request = (i: number) => ({
      ...orderOf("tea"),
      customerId: "t6",
      wait: Wait.ACCEPTED,
      requestId: `t6-${i}`,
    });
    const numbers = Array.from({ length: 60 }, (_, i) => i);
    await orders(url).placeOrder(orderOf("tea")); // its caches are warm
    let isKilled = false;
    const acked: string[] = [];
    const calls = numbers.map(async (i) => {
      const { order } = await orders(url).placeOrder(request(i));
      acked.push(order?.id ?? "");
      if (!isKilled) process.kill(gateway.pid, "SIGKILL");
      isKilled = true;
    });
    await Promise.allSettled(calls);
    await gateway.kill();
    expect(acked.length).toBeGreaterThan(0);
    for (const id of acked) await expect.poll(() => statusNow(id), SOON).toBe(OrderStatus.CONFIRMED);
    const repeated = await Promise.all(numbers.map((i) => orders().placeOrder(request(i))));
    const ids = new Set(repeated.map(({ order }) => order?.id ?? ""));
    expect(ids.size).toBe(numbers.length);
    expect(acked.filter((id) => !ids.has(id))).toEqual([]);
    const { orders: listed } = await orders().listOrders({ filter: { customerId: "t6" }, pageSize: 500 });
    expect(listed).toHaveLength(numbers.length);
  });
});

describe("no worker at all", () => {
  it("T7 finishes a hundred orders that were placed meanwhile", async () => {
    const before = (await system.client(AnalyticsService).getTotalSales({})).totalSales?.orders ?? 0n;
    await core.kill();
    await system.stopWorkers();
    const calls = Array.from({ length: 100 }, (_, i) =>
      orders().placeOrder({ ...orderOf("tea"), customerId: "t7", requestId: `t7-${i}` }),
    );
    const hurried = failureOf(
      orders().placeOrder({ ...orderOf("tea"), requestId: "t7-0", customerId: "t7" }, { timeoutMs: 300 }),
    );
    expect(await hurried).toMatchObject({ code: Code.DeadlineExceeded });
    [core] = await Promise.all([startCore(), system.startWorkers(["analytics"])]);
    for (const { order } of await Promise.all(calls)) expect(order?.status).toBe(OrderStatus.CONFIRMED);
    const { orders: listed } = await orders().listOrders({ filter: { customerId: "t7" }, pageSize: 500 });
    expect(listed).toHaveLength(100);
    const sold = async () => (await system.client(AnalyticsService).getTotalSales({})).totalSales?.orders;
    await expect.poll(sold, SOON).toBeGreaterThanOrEqual(before + 100n);
  });

  it("T7 counts what was sold while nobody counted", async () => {
    await system.stopWorkers();
    const placed = await Promise.all(Array.from({ length: 20 }, () => place("tok_ok")));
    expect(placed.every(({ status }) => status === OrderStatus.CONFIRMED)).toBe(true);
    await system.startWorkers(["analytics"]);
    const figures = async () => {
      const { sales } = await system.client(AnalyticsService).getSalesByProduct({ productId: "tea" });
      const { stock } = await system.client(InventoryService).getStock({ productId: "tea" });
      return (sales?.units ?? 0n) + (stock?.onHand ?? 0n);
    };
    await expect.poll(figures, SOON).toBe(100_000n);
  });
});

it("leaves books that agree: nothing lost, nothing doubled", async () => {
  const { verdict, checks } = await system.client(OpsService).reconcile({ timeout: { seconds: 10n } });
  expect(checks.filter((check) => check.verdict !== ReconcileVerdict.CLEAN)).toEqual([]);
  expect(verdict).toBe(ReconcileVerdict.CLEAN);
  const { stocks } = await system.client(InventoryService).listStock({});
  const onHand = stocks.reduce((sum, stock) => sum + stock.onHand, 0n);
  const ledger = system.psp.simulator.ledger().filter(({ status }) => status === "approved");
  const count = (wanted: string) => BigInt(ledger.filter(({ operation }) => operation === wanted).length);
  expect(onHand).toBe(101_000n - count("capture") + count("refund"));
  expect(stocks.map(({ reserved }) => reserved)).toEqual([0n, 0n]);
});
