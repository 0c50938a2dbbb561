import { create, type DescMethodUnary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OrderActor } from "../../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { PaymentActor } from "../../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { BundleSchema, type EntrySchema } from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { StockActor } from "../../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { AnalyticsService } from "../../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { InventoryService } from "../../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { DeadLetterState, OpsService } from "../../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import { OrderService } from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { failureOf, orderOf, SOON, until } from "./calls.ts";
import { startSystem, type System, TENANT } from "./system.ts";

const NONSENSE = new Uint8Array([0xff, 0xff, 0xff, 0xff]);

let system: System;
beforeAll(async () => {
  system = await startSystem();
  await system.product("tea", 100_000n);
});
afterAll(() => system[Symbol.asyncDispose]());

const orders = () => system.client(OrderService);
const ops = () => system.client(OpsService);

async function place() {
  const { order } = await orders().placeOrder(orderOf("tea"));
  expect(order?.status).toBe(OrderStatus.CONFIRMED);
  return order?.id ?? "";
}

type EntryInit = MessageInitShape<typeof EntrySchema>;

/** Puts entries into the log of a key, as if a part of the system had gone mad. */
async function inject(key: string, ...entries: EntryInit[]): Promise<void> {
  const { bus, topology } = system.back;
  const data = toBinary(BundleSchema, create(BundleSchema, { entries }));
  const outcome = await bus.append({
    subject: topology.inbox("core", topology.logOf("core", TENANT, key)),
    data,
  });
  expect(outcome.kind).toBe("stored");
}

/** A message to an actor that no other part of the system has sent. */
function entryOf<M extends DescMethodUnary>(
  { name: method, parent, input }: M,
  key: string,
  message: MessageInitShape<M["input"]> | Uint8Array,
): EntryInit {
  const kind = parent.typeName.split(".")[2] ?? "";
  const body =
    message instanceof Uint8Array
      ? message
      : toBinary(input, create(input, message as MessageInitShape<M["input"]>));
  return { kind, tenant: TENANT, key, method, body };
}

/** The dead letter of an actor, once it is there. */
async function letterOf(key: string, kind = "stock") {
  return until(async () => {
    const { deadLetters } = await ops().listDeadLetters({ kind, pageSize: 500 });
    return deadLetters.find((letter) => letter.key === key);
  });
}

const openCount = async () => (await ops().getSystemStatus({})).deadLettersOpen;
const reserved = async (productId: string) =>
  (await system.client(InventoryService).getStock({ productId })).stock?.reserved;

describe("T8 a message that cannot be applied goes to the dead letters, and its neighbours proceed:", () => {
  it("bytes that are no bundle, in every log", async () => {
    const before = await openCount();
    const { bus, topology } = system.back;
    const { logs } = topology.group("core");
    for (let log = 0; log < logs; log++)
      await bus.append({ subject: topology.inbox("core", log), data: NONSENSE });
    await Promise.all(Array.from({ length: 20 }, place));
    await expect.poll(openCount, SOON).toBe(before + BigInt(logs));
    // Nobody knows whose they are: they can be looked at and thrown away, not sent again.
    const { deadLetters } = await ops().listDeadLetters({ kind: "none" });
    expect(deadLetters).toHaveLength(logs);
    for (const { id: deadLetterId } of deadLetters) {
      const { deadLetter } = await ops().getDeadLetter({ deadLetterId });
      expect(deadLetter).toMatchObject({ reason: "UNDECODABLE", payload: NONSENSE });
      expect(await failureOf(ops().redriveDeadLetter({ deadLetterId }))).toMatchObject({
        code: Code.FailedPrecondition,
        reason: "INVALID_TRANSITION",
      });
      await ops().discardDeadLetter({ deadLetterId });
    }
    expect(await openCount()).toBe(before);
  });

  it("a message whose body is nonsense, between two good ones of the same order", async () => {
    const orderId = await place();
    await inject(orderId, entryOf(OrderActor.method.cancel, orderId, NONSENSE));
    const { order } = await orders().cancelOrder({ orderId });
    expect([OrderStatus.CANCELLING, OrderStatus.CANCELLED]).toContain(order?.status);
    const letter = await letterOf(orderId, "order");
    expect(letter).toMatchObject({
      kind: "order",
      tenantId: TENANT,
      type: "Cancel",
      reason: "UNDECODABLE",
      state: DeadLetterState.OPEN,
      subject: `dead.order.${TENANT}.${orderId}.${letter.id}`,
    });
    const { deadLetter } = await ops().getDeadLetter({ deadLetterId: letter.id });
    expect(deadLetter).toMatchObject({ payloadJson: "", payload: NONSENSE });
  });

  it("a message that makes its handler throw", async () => {
    const key = "ord_never-authorised";
    await inject(
      key,
      entryOf(PaymentActor.method.cancel, key, { reason: "" }),
      entryOf(PaymentActor.method.capture, key, { amount: 5n }),
    );
    const letter = await letterOf(key, "payment");
    expect(letter).toMatchObject({ kind: "payment", reason: "HANDLER_FAILED" });
    expect(letter.text).toContain("has no attempt");
    await place();
  });

  it("messages for what does not exist: a kind, an rpc, an actor, a name that is no name", async () => {
    const entry = entryOf(StockActor.method.release, "tea", { quantity: 1 });
    const before = await openCount();
    await inject(
      "tea",
      { ...entry, kind: "dragon" },
      { ...entry, method: "Explode" },
      { ...entry, key: "t8-nobody" },
      { ...entry, kind: "no kind.*", key: "no key >" },
    );
    await expect.poll(openCount, SOON).toBe(before + 4n);
    const { deadLetters } = await ops().listDeadLetters({ pageSize: 500 });
    const reasons = deadLetters.map(({ reason }) => reason);
    for (const reason of ["UNKNOWN_KIND", "UNKNOWN_METHOD", "NOT_FOUND"]) expect(reasons).toContain(reason);
    expect(await reserved("tea")).toBe(0n);
    await Promise.all(Array.from({ length: 10 }, place));
  });

  it("events and tasks that are nonsense", async () => {
    const { bus, topology } = system.back;
    const type = "tradewind.actors.order.v1.OrderCaptured";
    const subject = topology.event(TENANT, "order", "ord_odd", "order_captured");
    const event = { subject, headers: { "Tw-Type": type, "Tw-Time": "1" } };
    await bus.append({ ...event, data: new TextEncoder().encode('{"amount":"many"}') });
    await bus.append({ ...event, data: NONSENSE });
    for (const queue of ["payment", "payment_capture", "payment_undo"])
      await bus.append({ subject: topology.task(queue, TENANT, "ord_odd", "odd"), data: NONSENSE });
    const sold = async () =>
      (await system.client(AnalyticsService).getTotalSales({})).totalSales?.orders ?? 0n;
    const before = await sold();
    await Promise.all(Array.from({ length: 5 }, place));
    await expect.poll(sold, SOON).toBeGreaterThanOrEqual(before + 5n);
  });
});

describe("dead letters", () => {
  it("can be redriven once what they missed is there, and take effect once", async () => {
    const key = "comes-later";
    await inject(key, entryOf(StockActor.method.release, key, { quantity: 7 }));
    const { id: deadLetterId } = await letterOf(key);
    const { deadLetter } = await ops().getDeadLetter({ deadLetterId });
    expect(deadLetter).toMatchObject({ reason: "NOT_FOUND", payloadJson: '{"quantity":7}' });
    await system.product(key, 10n);
    const both = await Promise.allSettled([1, 2].map(() => ops().redriveDeadLetter({ deadLetterId })));
    expect(both.some(({ status }) => status === "fulfilled")).toBe(true);
    await expect.poll(() => reserved(key), SOON).toBe(-7n);
    expect(await failureOf(ops().redriveDeadLetter({ deadLetterId }))).toMatchObject({ code: Code.NotFound });
    expect(await failureOf(ops().getDeadLetter({ deadLetterId }))).toMatchObject({ reason: "NOT_FOUND" });
    await place();
    expect(await reserved(key)).toBe(-7n);
  });

  it("come back when they fail again", async () => {
    const key = "ord_fails-again";
    await inject(key, entryOf(PaymentActor.method.cancel, key, { reason: "" }));
    await inject(key, entryOf(PaymentActor.method.capture, key, { amount: 5n }));
    const { id: deadLetterId } = await letterOf(key, "payment");
    const { deadLetter } = await ops().redriveDeadLetter({ deadLetterId });
    expect(deadLetter?.state).toBe(DeadLetterState.REDRIVEN);
    const again = await letterOf(key, "payment");
    expect(again.id).not.toBe(deadLetterId);
    expect(again).toMatchObject({ reason: "HANDLER_FAILED", key });
  });

  it("can be discarded, without effect", async () => {
    const key = "given-up";
    await inject(key, entryOf(StockActor.method.release, key, { quantity: 1 }));
    const { id: deadLetterId } = await letterOf(key);
    const { deadLetter } = await ops().discardDeadLetter({ deadLetterId, reason: "an accident" });
    expect(deadLetter?.state).toBe(DeadLetterState.DISCARDED);
    expect(await failureOf(ops().discardDeadLetter({ deadLetterId }))).toMatchObject({ code: Code.NotFound });
    const { deadLetters } = await ops().listDeadLetters({ pageSize: 500 });
    expect(deadLetters.some(({ id }) => id === deadLetterId)).toBe(false);
  });

  it("are listed oldest first, by kind, page by page", async () => {
    const keys = Array.from({ length: 7 }, (_, i) => `page-${i}`);
    for (const key of keys) await inject(key, entryOf(StockActor.method.commit, key, { quantity: 1 }));
    await Promise.all(keys.map((key) => letterOf(key)));
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await ops().listDeadLetters({ kind: "stock", pageSize: 3, pageToken });
      expect(page.deadLetters.length).toBeLessThanOrEqual(3);
      for (const { kind } of page.deadLetters) expect(kind).toBe("stock");
      seen.push(...page.deadLetters.map(({ key }) => key));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.filter((key) => keys.includes(key)).toSorted()).toEqual(keys);
    const stolen = failureOf(ops().listDeadLetters({ kind: "order", pageToken: "bm9uc2Vuc2U" }));
    expect(await stolen).toMatchObject({ code: Code.InvalidArgument, reason: "PAGE_TOKEN_INVALID" });
  });
});
