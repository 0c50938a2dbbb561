import { fromBinary, fromJsonString } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { systemClock } from "../platform/clock.ts";
import type { AnalyticsState } from "../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import { ArchiveStateSchema } from "../proto/gen/tradewind/actors/archive/v1/archive_actor_pb.ts";
import { OrderActor } from "../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { OrderStateSchema, OrderStatus } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import {
  PaymentActor,
  ProviderCallSchema,
} from "../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { PaymentStateSchema } from "../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import { StockStateSchema } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { isFinal, statusName } from "./order/order-saga.ts";
import { callProvider } from "./payment/payment-tasks.ts";
import { createMemoryProvider } from "./payment/provider-memory.ts";
import { reconcile, type Books } from "./reconcile/reconciler.ts";
import { PaymentSimulator } from "./shared/payment-simulator.ts";
import { line, ProjectionWorld, stockOf, worldWith, type OpenCall, type World } from "./testing.ts";

const PRODUCTS = ["a", "b", "c"];
const TOKENS = ["tok_ok", "tok_declined", "tok_capture_declined", ""];

/** Steps that a run takes, each with a number that says which message, call, timer or order it means. */
const kinds = fc.oneof(
  { weight: 12, arbitrary: fc.constant("deliver") },
  { weight: 6, arbitrary: fc.constant("call") },
  { weight: 2, arbitrary: fc.constantFrom("lose", "late", "refund") },
  { weight: 1, arbitrary: fc.constantFrom("fire", "cancel", "pay") },
  { weight: 2, arbitrary: fc.constant("archive") },
);
const steps = fc.array(fc.tuple(kinds, fc.nat(1_000)), { minLength: 20, maxLength: 150, size: "max" });
const orders = fc.array(
  fc.record({
    lines: fc.array(fc.tuple(fc.constantFrom(...PRODUCTS), fc.integer({ min: 1, max: 3 })), {
      minLength: 1,
      maxLength: 4,
    }),
    token: fc.constantFrom(...TOKENS),
    customer: fc.constantFrom("c1", "c2"),
    price: fc.constantFrom(0n, 1n, 333n, 1_000n),
  }),
  { minLength: 1, maxLength: 6 },
);

/** The world with a provider whose answers may be lost and come late. */
class Shop {
  readonly world: World = worldWith({ a: 4n, b: 4n, c: 4n });
  readonly simulator = new PaymentSimulator({ clock: systemClock });
  readonly #provider = createMemoryProvider(this.simulator);
  readonly #lost = new Set<OpenCall>();
  readonly ids: string[] = [];

  async step(kind: string, number: number): Promise<void> {
    const { world } = this;
    const order = this.ids[number % this.ids.length] ?? "";
    const call = world.calls[number % Math.max(1, world.calls.length)];
    const timers = world.armed();
    const timer = timers[number % Math.max(1, timers.length)];
    if (kind === "deliver") world.step((count) => number % count);
    else if (kind === "call" && call !== undefined) await this.answer(call);
    else if (kind === "lose" && call !== undefined) await this.lose(call, number % 2 === 0);
    else if (kind === "late") await this.#answerLate();
    else if (kind === "fire" && timer !== undefined) world.fire(timer.kind, timer.key, timer.name);
    else if (kind === "cancel") this.#attempt(() => world.request(OrderActor.method.cancel, order, {}));
    else if (kind === "pay")
      this.#attempt(() => world.request(OrderActor.method.pay, order, { methodToken: "tok_ok" }));
    else if (kind === "archive") this.archive(order);
    else if (kind === "refund") {
      this.#attempt(() => world.request(PaymentActor.method.refund, order, { amount: BigInt(number) }));
    }
  }

  /** Asks the order to leave for the archive, however young it is. */
  archive(orderId: string): void {
    const message = { unchangedSinceMs: BigInt(this.world.nowMs), ledger: "ledger-0", keepSeconds: 60 };
    this.world.request(OrderActor.method.archive, orderId, message);
  }

  /** Calls the provider; without a definite answer the call stays open. */
  async answer(call: OpenCall): Promise<void> {
    const { signal } = new AbortController();
    const result = await callProvider(this.#provider, call.call, {
      taskId: call.task.id,
      attempt: 1,
      signal,
    }).catch(() => undefined);
    if (result === undefined) return;
    this.#lost.delete(call);
    this.world.settle(result, call);
  }

  /** The task is given up, with or without an effect; only tasks that are ever given up. */
  async lose(call: OpenCall, hasEffect: boolean): Promise<void> {
    if (call.call.compensating || call.task.queue === "payment_undo" || this.#lost.has(call)) return;
    const { signal } = new AbortController();
    const { id: taskId } = call.task;
    if (hasEffect) await callProvider(this.#provider, call.call, { taskId, attempt: 1, signal });
    this.#lost.add(call);
    this.world.settle("gave_up", call);
  }

  async #answerLate(): Promise<void> {
    for (const call of this.#lost) await this.answer(call);
  }

  /** Everything that was under way comes to its end; some lost answers never come. */
  async drain(): Promise<void> {
    for (let round = 0; round < 50; round++) {
      this.world.run();
      for (const timer of this.world.armed())
        if (timer.name === "hold") this.world.fire(timer.kind, timer.key, timer.name);
      const open = this.world.calls.filter((call) => !this.#lost.has(call));
      if (open.length === 0) break;
      for (const call of open) await this.answer(call);
    }
    this.world.run();
  }

  #attempt(act: () => unknown): void {
    try {
      act();
    } catch (error) {
      expect(error).toMatchObject({ name: "DomainError" });
    }
  }

  books(analytics: ReadonlyMap<string, AnalyticsState>): Books {
    const { world } = this;
    // An actor that has only refused something is none yet.
    const opened = (kind: string) => world.keys(kind).filter((key) => world.probe(kind, key).revision > 0n);
    const all = <S>(kind: string, of: (key: string) => S) =>
      opened(kind).map((key) => ({ key, state: of(key) }));
    return {
      orders: all("order", (key) => world.state(OrderStateSchema, "order", key)),
      payments: all("payment", (key) => world.state(PaymentStateSchema, "payment", key)),
      stocks: all("stock", (key) => world.state(StockStateSchema, "stock", key)),
      archive: all("archive", (key) => world.state(ArchiveStateSchema, "archive", key)),
      analytics: [...analytics].map(([key, state]) => ({ key, state })),
      nowMs: world.nowMs + 60_000,
    };
  }
}

describe("whatever happens in whatever order", () => {
  it("every order ends, nothing is sold twice, and the books agree", async () => {
    await fc.assert(
      fc.asyncProperty(orders, steps, async (placed, taken) => {
        const shop = new Shop();
        const { world } = shop;
        for (const [index, { lines, token, customer, price }] of placed.entries()) {
          const id = `o${index}`;
          shop.ids.push(id);
          const priced = lines.map(([product, quantity]) => line(product, quantity, price));
          world.request(OrderActor.method.place, id, {
            customerId: customer,
            lines: priced,
            methodToken: token,
          });
        }
        for (const [kind, number] of taken) {
          await shop.step(kind, number);
          for (const product of PRODUCTS) {
            const { onHand, reserved } = stockOf(world, product);
            expect(reserved >= 0n && onHand - reserved >= 0n).toBe(true);
          }
        }
        await shop.drain();
        const analytics = new ProjectionWorld();
        analytics.apply(world.events);
        const report = reconcile(shop.books(analytics.records));
        expect(report.checks.filter(({ verdict }) => verdict !== "clean")).toEqual([]);
        expect(report.ordersOpen).toBe(0);
        for (const id of shop.ids) checkAgainstLedger(shop, id);
        for (const id of shop.ids) shop.archive(id);
        await shop.drain();
        const emptied = reconcile(shop.books(analytics.records));
        expect(emptied.checks.filter(({ verdict }) => verdict !== "clean")).toEqual([]);
        expect(BigInt(emptied.orders) + emptied.ordersArchived).toBe(BigInt(shop.ids.length));
        const kept = shop.ids.map((id) => world.state(OrderStateSchema, "order", id));
        const atRest = kept.filter(({ archivedMs, armedMs }) => archivedMs === 0n && armedMs === 0n);
        expect(atRest.map(({ status, money }) => [statusName(status), money])).toEqual([]);
      }),
      { numRuns: 600 },
    );
  }, 60_000);
});

/** Each charge belongs to a confirmed order or was paid back; nothing stays authorised for an order that ended. */
function checkAgainstLedger({ world, simulator }: Shop, id: string): void {
  const order = world.state(OrderStateSchema, "order", id);
  const entries = simulator
    .ledger()
    .filter((entry) => entry.authorizationKey.startsWith(`${id}:`) && entry.status === "approved");
  const sum = (operation: string) =>
    entries
      .filter((entry) => entry.operation === operation)
      .reduce((total, { amount }) => total + BigInt(amount), 0n);
  const isKept = order.status === OrderStatus.CONFIRMED;
  expect(sum("capture")).toBe(order.captured);
  expect(sum("refund")).toBe(order.refunded);
  if (!isKept) expect(sum("capture") - sum("refund")).toBe(0n);
  if (isFinal(order.status) && sum("capture") === 0n) {
    const authorized = entries.filter(({ operation }) => operation === "authorize").map(({ key }) => key);
    const voided = new Set(
      entries.filter(({ operation }) => operation === "void").map((entry) => entry.authorizationKey),
    );
    expect(authorized.filter((key) => !voided.has(key))).toEqual([]);
  }
}

describe("stored bytes", () => {
  it("of calls and events decode to what was meant", () => {
    const world = worldWith({ a: 1n });
    world.request(OrderActor.method.place, "o1", {
      customerId: "c",
      lines: [line("a", 1)],
      methodToken: "tok_ok",
    });
    world.run();
    const [open] = world.calls;
    expect(fromBinary(ProviderCallSchema, open?.task.body ?? new Uint8Array())).toMatchObject({
      key: "o1:1",
      amount: 1_190n,
    });
    expect(() => fromJsonString(OrderStateSchema, "{}")).not.toThrow();
  });
});
