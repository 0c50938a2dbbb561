import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { archiveOrders, type ArchiveRun } from "../../actors/archivist/archivist.ts";
import { systemClock } from "../../platform/clock.ts";
import { systemRandom } from "../../platform/random.ts";
import { OpsService, ReconcileVerdict } from "../../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import { OrderService, Wait } from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { PaymentService } from "../../proto/gen/tradewind/payment/v1/payment_service_pb.ts";
import { run } from "../run/process.ts";
import { EUR, failureOf, orderOf, pause, SOON, until } from "./calls.ts";
import { type Child, startChild } from "./child.ts";
import { startSystem, type System, TENANT } from "./system.ts";

/** Old enough to be archived here; in production it is 30 days at least. */
const AGE_MS = 1_500;
/** So long the records of archived orders are kept; a day in production. */
const KEEP_SECONDS = 2;
const OLD_ORDERS = 300;
const KILLS = 3;
const LOAD_MS_MAX = 60_000;

let system: System;
let core: Child;
beforeAll(async () => {
  system = await startSystem({ groups: ["analytics"] });
  core = await startCore();
  await system.product("tea", 100_000n);
  await system.product("cup", 100_000n, 333n, 700);
  await system.product("rare", 5n);
});
afterAll(async () => {
  await core.kill();
  await system[Symbol.asyncDispose]();
});

const startCore = () => startChild("actors/main.ts", ["--group", "core"], system.env, '"started"');
const orders = () => system.client(OrderService);

/** As a client does: what gets no answer while the worker is gone is repeated under its key. */
async function place(customerId: string, number: number): Promise<string> {
  const products = ["tea", "cup", "rare"];
  const token = number % 9 === 4 ? "tok_declined" : "tok_ok";
  const request = { ...orderOf(products[number % 3] ?? "tea", 1 + (number % 2), token), customerId };
  const { order } = await until(
    () => orders().placeOrder({ ...request, requestId: `${customerId}-${number}` }),
    LOAD_MS_MAX,
  );
  return order?.id ?? expect.fail("no order");
}

/** Everything that is old enough now leaves, as a worker or the command has it done. */
async function archiveAll(): Promise<ArchiveRun> {
  const { client, topology } = system.back;
  const deps = { client, topology, clock: systemClock, random: systemRandom };
  const { signal } = new AbortController();
  const options = { ageMs: AGE_MS, restMs: 5, keepSeconds: KEEP_SECONDS, signal };
  return archiveOrders(deps, TENANT, options);
}

/** Repeats what a kill cuts off, as the hourly run and people do. */
async function archiveInAnyCase(): Promise<number> {
  for (let archived = 0; ;) {
    const run = await archiveAll().catch(() => undefined);
    archived += run?.archived ?? 0;
    if (run?.isComplete === true) return archived;
    await pause(200);
  }
}

async function reconciled() {
  const report = await system.client(OpsService).reconcile({ timeout: { seconds: 20n } });
  expect(report.checks.filter(({ verdict }) => verdict !== ReconcileVerdict.CLEAN)).toEqual([]);
  return report;
}

/** Records of a kind that are stored, marks of removed ones left out. */
async function stored(kind: string): Promise<readonly string[]> {
  const { bus, topology } = system.back;
  const subjects = [
    ...(await bus.subjects(topology.streams.actors, topology.record(kind, TENANT, "*"))).keys(),
  ];
  const found = new Map<string, number>();
  for (let at = 0; at < subjects.length; at += 200) {
    const some = await bus.lastMany(topology.streams.actors, subjects.slice(at, at + 200));
    for (const [subject, { data }] of some) found.set(subject.split(".").at(-1) ?? "", data.length);
  }
  return [...found].filter(([, bytes]) => bytes > 0).map(([key]) => key);
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

describe("archiving while orders come in and the worker is killed", () => {
  let old: readonly string[];
  let refunded = "";
  let unpaid = "";
  let archived = 0;
  let young: readonly string[];

  beforeAll(async () => {
    const { order } = await orders().placeOrder({ ...orderOf("tea", 1, ""), wait: Wait.HELD });
    unpaid = order?.id ?? "";
    old = await Promise.all(Array.from({ length: OLD_ORDERS }, (_, number) => place("old", number)));
    refunded = old[0] ?? "";
    const [payment] = (await system.client(PaymentService).listPayments({ orderId: refunded })).payments;
    await system.client(PaymentService).refundPayment({ paymentId: payment?.id ?? "", amount: EUR(100n) });
    await orders().cancelOrder({ orderId: old[3] ?? "" });
    await pause(AGE_MS + 500);
    const load = Promise.all(Array.from({ length: 200 }, (_, number) => place("new", number)));
    const runs = Promise.all([archiveInAnyCase(), archiveInAnyCase()]);
    for (let kill = 0; kill < KILLS; kill++) {
      await pause(120);
      await core.kill();
      core = await startCore();
    }
    young = await load;
    archived = sum(await runs);
  }, 120_000);

  it("leaves books that agree, counts each order once, and has nobody's message in the dead letters", async () => {
    const report = await reconciled();
    const total = BigInt(OLD_ORDERS + young.length + 1);
    expect(report.orders + report.ordersArchived).toBe(total);
    expect(report.ordersArchived).toBeGreaterThan(OLD_ORDERS / 2);
    expect(archived).toBeGreaterThan(0);
    expect((await system.client(OpsService).listDeadLetters({})).deadLetters).toEqual([]);
  });

  it(
    "keeps what is still open, and lets everything else leave when it is old",
    { timeout: 60_000 },
    async () => {
      const left = async () => {
        await archiveInAnyCase();
        return (await reconciled()).orders;
      };
      await expect.poll(left, { timeout: 30_000, interval: AGE_MS }).toBe(1n);
      const { order } = await orders().getOrder({ orderId: unpaid });
      expect(order?.status).toBe(OrderStatus.AWAITING_PAYMENT);
    },
  );

  it("does nothing when it is repeated", async () => {
    const before = await reconciled();
    expect(await archiveAll()).toMatchObject({ archived: 0, isComplete: true });
    expect(await reconciled()).toMatchObject({
      orders: before.orders,
      ordersArchived: before.ordersArchived,
    });
  });

  it("frees the bucket: records of order and payment, and the pages of their lists", async () => {
    const kinds = async () => [await stored("order"), await stored("payment")];
    await expect.poll(kinds, SOON).toEqual([[unpaid], []]);
    const open = /^(orders|payments)-\d-head$/;
    const pages = async () => (await stored("list")).filter((key) => /^(orders|payments)-/.test(key));
    await expect
      .poll(async () => (await pages()).filter((key) => !open.test(key)).length, SOON)
      .toBeLessThan(2);
    expect((await stored("archive")).length).toBeLessThanOrEqual(4);
  });

  it("lists what is left, and nothing else", async () => {
    for (const pageSize of [1, 100]) {
      const { orders: found, nextPageToken } = await orders().listOrders({ pageSize });
      expect(found.map(({ id }) => id)).toEqual([unpaid]);
      const next =
        nextPageToken === ""
          ? []
          : (await orders().listOrders({ pageSize, pageToken: nextPageToken })).orders;
      expect(next).toEqual([]);
    }
    const later = await place("late", 0);
    const { orders: found } = await orders().listOrders({ pageSize: 100 });
    expect(found.map(({ id }) => id)).toEqual([later, unpaid]);
  });

  it("is a command, for orders of 30 days or more", async () => {
    const archive = (...flags: string[]) =>
      run("node", ["cli/main.ts", "archive", "--url", system.url, ...flags]);
    expect(await archive()).toEqual({
      exitCode: 0,
      output: "0 orders archived, 0 older than 30 days stay\n",
    });
    expect((await archive("--older-than", "29d")).exitCode).not.toBe(0);
    expect((await archive("--json")).output).toBe('{"archived":0,"kept":0}\n');
  });

  it("reads an archived order and its payment by their ids, with their history, and changes neither", async () => {
    const { order } = await orders().getOrder({ orderId: refunded });
    expect(order).toMatchObject({ id: refunded, customerId: "old", status: OrderStatus.CONFIRMED });
    const { payments } = await system.client(PaymentService).listPayments({ orderId: refunded });
    expect(payments).toMatchObject([{ refundedAmount: EUR(100n) }]);
    const { entries } = await orders().getOrderHistory({ orderId: refunded });
    expect(entries.at(-1)).toMatchObject({ event: "archived", status: OrderStatus.CONFIRMED });
    const cancelled = await failureOf(orders().cancelOrder({ orderId: refunded }));
    expect(cancelled).toMatchObject({ code: Code.NotFound, reason: "NOT_FOUND" });
    const again = system.client(PaymentService).refundPayment({ paymentId: payments[0]?.id ?? "" });
    expect(await failureOf(again)).toMatchObject({ code: Code.NotFound, reason: "NOT_FOUND" });
    expect(await failureOf(orders().getOrder({ orderId: "ord_none" }))).toMatchObject({
      code: Code.NotFound,
    });
  });
});
