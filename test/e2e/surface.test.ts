import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { type CallOptions, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AnalyticsService } from "../../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { CatalogService } from "../../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import { InventoryService } from "../../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { OpsService } from "../../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import { OrderService, Wait } from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { PaymentService } from "../../proto/gen/tradewind/payment/v1/payment_service_pb.ts";
import { EUR, failureOf, orderOf, paidBy, readUntil } from "./calls.ts";
import { ABSENT, BAD, ELSEWHERE, GOOD, price } from "./surface-requests.ts";
import { startSystem, type System } from "./system.ts";

const SERVICES: readonly DescService[] = [
  AnalyticsService,
  CatalogService,
  InventoryService,
  OpsService,
  OrderService,
  PaymentService,
];

let system: System;
let orderId = "";
let paymentId = "";
beforeAll(async () => {
  system = await startSystem();
  await system.product("tea", 100_000n, 500n);
  const { order } = await system.client(OrderService).placeOrder(orderOf("tea"));
  orderId = order?.id ?? "";
  paymentId = order?.paymentIds[0] ?? "";
});
afterAll(() => system[Symbol.asyncDispose]());

const orders = () => system.client(OrderService);

/** Methods of the API by the names that their clients have. */
const METHODS = SERVICES.flatMap((service) =>
  service.methods.map((method) => [nameOf(method), method] as const),
);

function nameOf({ parent, name }: DescMethod): string {
  return `${parent.name}.${name}`;
}

type Call = (request: object, options?: CallOptions) => Promise<unknown>;

/** Calls any method: the answer, or the first message of a stream. */
function callOf({ parent, localName, methodKind }: DescMethod): Call {
  const client = system.client(parent) as unknown as Record<string, (...args: unknown[]) => unknown>;
  const call = client[localName]?.bind(client) ?? expect.fail(`no method ${localName}`);
  if (methodKind === "unary") return (request, options) => call(request, options) as Promise<unknown>;
  return async (request) => {
    const open = (signal: AbortSignal) => call(request, { signal }) as AsyncIterable<unknown>;
    const [first] = await readUntil(open, () => true);
    return first;
  };
}

const methodOf = (name: string) => new Map(METHODS).get(name) ?? expect.fail(`no method ${name}`);
describe("every method", () => {
  it("has a good and a bad request here", () => {
    const takesNothing = METHODS.filter(([, { input }]) => input.fields.length === 0).map(([name]) => name);
    const names = METHODS.map(([name]) => name).toSorted();
    expect([...Object.keys(GOOD), ...ELSEWHERE].toSorted()).toEqual(names);
    expect([...new Set(BAD.map(([name]) => name)), ...takesNothing].toSorted()).toEqual(names);
  });

  it.each(Object.keys(GOOD))("%s answers", async (name) => {
    const [request, answer] = GOOD[name]?.({ orderId, paymentId }) ?? [{}, {}];
    expect(await callOf(methodOf(name))(request)).toMatchObject(answer);
  });

  it("names each field that breaks a rule, and changes nothing", async () => {
    const before = (await orders().listOrders({ pageSize: 500 })).orders.map(({ id }) => id);
    for (const [name, request, fields] of BAD) {
      const failure = await failureOf(callOf(methodOf(name))(request));
      expect([name, failure.code, failure.fields]).toEqual([name, Code.InvalidArgument, fields]);
      expect(["VALIDATION", "CURSOR_INVALID"]).toContain(failure.reason);
    }
    const after = (await orders().listOrders({ pageSize: 500 })).orders.map(({ id }) => id);
    expect(after).toEqual(before);
  });

  it("says that there is no such thing", async () => {
    for (const [name, request] of ABSENT) {
      const failure = await failureOf(callOf(methodOf(name))(request));
      expect([name, failure.code, failure.reason]).toEqual([name, Code.NotFound, "NOT_FOUND"]);
    }
  });

  it("refuses page tokens of other lists and of nobody", async () => {
    for (let i = 0; i < 2; i++) await orders().placeOrder(orderOf("tea"));
    const { nextPageToken: pageToken } = await orders().listOrders({ pageSize: 1 });
    expect(pageToken).not.toBe("");
    const lists = METHODS.filter(([, { input }]) => input.fields.some(({ name }) => name === "page_token"));
    expect(lists.length).toBeGreaterThan(5);
    for (const [name, method] of lists) {
      const tokens = name === "OrderService.ListOrders" ? ["x"] : ["x", pageToken];
      for (const token of tokens) {
        const failure = await failureOf(callOf(method)({ pageToken: token }));
        expect([name, failure.reason, failure.fields]).toEqual([name, "PAGE_TOKEN_INVALID", ["page_token"]]);
      }
    }
  });
});

describe("idempotency", () => {
  /** Each write, with a first request and another one. Each has its own key. */
  const WRITES: readonly (readonly [string, () => Promise<readonly [object, object]>])[] = [
    ["OrderService.PlaceOrder", async () => [orderOf("tea", 1), orderOf("tea", 2)]],
    [
      "OrderService.CancelOrder",
      async () => {
        const id = await unpaid();
        return [{ orderId: id }, { orderId: id, reason: "another" }];
      },
    ],
    [
      "PaymentService.PayOrder",
      async () => {
        const id = await unpaid();
        const timeout = { seconds: 5n };
        return [
          { orderId: id, ...paidBy("tok_ok"), timeout },
          { orderId: id, ...paidBy("tok_decline"), timeout },
        ];
      },
    ],
    [
      "PaymentService.RefundPayment",
      async () => {
        const { order } = await orders().placeOrder(orderOf("tea"));
        const id = order?.paymentIds[0] ?? "";
        return [
          { paymentId: id, amount: EUR(1n) },
          { paymentId: id, amount: EUR(2n) },
        ];
      },
    ],
    [
      "CatalogService.CreateProduct",
      async () => [
        { name: "A", price },
        { name: "B", price },
      ],
    ],
    [
      "CatalogService.UpdateProduct",
      async () => [
        { productId: "tea", product: { description: "a" } },
        { productId: "tea", product: { description: "b" } },
      ],
    ],
    [
      "InventoryService.AdjustStock",
      async () => [
        { productId: "tea", delta: 5n },
        { productId: "tea", delta: 6n },
      ],
    ],
  ];

  async function unpaid(): Promise<string> {
    const { order } = await orders().placeOrder({ ...orderOf("tea", 1, ""), wait: Wait.HELD });
    return order?.id ?? "";
  }

  it("is there for every write that has a request id", () => {
    const writes = METHODS.filter(([, { input }]) => input.fields.some(({ name }) => name === "request_id"));
    expect(WRITES.map(([name]) => name).toSorted()).toEqual(writes.map(([name]) => name).toSorted());
  });

  it.each(WRITES)(
    "%s answers a repeat alike, says so, and refuses its key for another request",
    async (name, make) => {
      const call = callOf(methodOf(name));
      const [first, other] = await make();
      const withKey = async (request: object, key: string) => {
        let replayed = false;
        const onHeader = (headers: Headers) =>
          void (replayed = headers.get("idempotent-replayed") === "true");
        const answer = await call(request, { headers: { "idempotency-key": key }, onHeader });
        return { answer, replayed };
      };
      const key = `key of ${name}`;
      const once = await withKey(first, key);
      const again = await withKey(first, key);
      expect([once.replayed, again.replayed]).toEqual([false, true]);
      expect(again.answer).toEqual(once.answer);
      const { answer: byField } = await withKey({ ...first, requestId: key }, key);
      expect(byField).toEqual(once.answer); // header and field are one key
      const failure = await failureOf(withKey(other, key));
      expect(failure).toMatchObject({ code: Code.FailedPrecondition, reason: "IDEMPOTENCY_KEY_REUSED" });
      const differs = await failureOf(withKey({ ...first, requestId: "another" }, key));
      expect(differs).toMatchObject({ code: Code.InvalidArgument, fields: ["request_id"] });
    },
  );

  it("keeps the keys of two methods apart", async () => {
    const id = await unpaid();
    await system
      .client(PaymentService)
      .payOrder({ orderId: id, ...paidBy("tok_decline"), requestId: "shared" });
    await expect(orders().cancelOrder({ orderId: id, requestId: "shared" })).resolves.toBeDefined();
  });

  it("T9 performs a request again whose first attempt was not accepted", async () => {
    const request = { ...orderOf("t9-later"), requestId: "t9" };
    expect(await failureOf(orders().placeOrder(request))).toMatchObject({ code: Code.NotFound });
    const bad = { ...request, customerId: "" };
    expect(await failureOf(orders().placeOrder(bad))).toMatchObject({ code: Code.InvalidArgument });
    await system.product("t9-later", 5n);
    const first = await orders().placeOrder(request);
    expect(first.order?.status).toBe(OrderStatus.CONFIRMED);
    expect(await orders().placeOrder(request)).toEqual(first);
  });

  it("T9 answers a request again whose first answer was lost", async () => {
    const request = { ...orderOf("tea", 1, "tok_slow_300"), requestId: "t9-lost" };
    const lost = orders().placeOrder(request, { signal: AbortSignal.timeout(60) });
    expect(await failureOf(lost)).toMatchObject({ code: Code.Canceled });
    const { order } = await orders().placeOrder(request);
    expect(order?.status).toBe(OrderStatus.CONFIRMED);
    const listed = await orders().listOrders({ filter: { statuses: [OrderStatus.AWAITING_PAYMENT] } });
    expect(listed.orders.some(({ id }) => id === order?.id)).toBe(false);
  });
});
