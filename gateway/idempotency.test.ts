import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { createContextValues, createHandlerContext } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../platform/random.ts";
import { Channel } from "../proto/gen/tradewind/order/v1/order_pb.ts";
import {
  OrderService,
  PlaceOrderRequestSchema,
  Wait,
} from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { scopeKey } from "./call-scope.ts";
import { identifyWrite, writeForm } from "./idempotency.ts";

const FORM = writeForm("wait", "timeout");

function contextOf(
  headers: Record<string, string> = {},
  tenant = "demo",
  principal = "dev",
  method = OrderService.method.placeOrder,
) {
  const contextValues = createContextValues().set(scopeKey, { tenant, principal, callId: "1", trace: "" });
  const common = { service: OrderService, protocolName: "connect", requestMethod: "POST", url: "http://x/" };
  return createHandlerContext({ ...common, method, requestHeader: headers, contextValues });
}

function identify(init: MessageInitShape<typeof PlaceOrderRequestSchema>, context = contextOf()) {
  const request = create(PlaceOrderRequestSchema, { customerId: "c-1", ...init });
  return identifyWrite(PlaceOrderRequestSchema, request, context, seededRandom(1), FORM);
}

describe("the key of a write", () => {
  it("is the same for the header and the field", () => {
    const byField = identify({ requestId: "k 1" });
    const byHeader = identify({}, contextOf({ "Idempotency-Key": "k 1" }));
    expect(byHeader.actorKey("ord")).toBe(byField.actorKey("ord"));
    expect(byHeader.fingerprint).toEqual(byField.fingerprint);
    expect(byField.actorKey("ord")).toMatch(/^ord_[0-9a-z]{26}$/);
  });

  it("belongs to tenant, principal and method", () => {
    const keys = [
      identify({ requestId: "k" }),
      identify({ requestId: "k" }, contextOf({}, "other")),
      identify({ requestId: "k" }, contextOf({}, "demo", "somebody")),
      identify({ requestId: "k" }, contextOf({}, "demo", "dev", OrderService.method.cancelOrder as never)),
      identify({ requestId: "l" }),
    ].map((identity) => identity.actorKey("ord"));
    expect(new Set(keys).size).toBe(5);
  });

  it("is made by the server when there is none", () => {
    const identity = identify({});
    expect(identity.isGiven).toBe(false);
    expect(identity.actorKey("ord")).toMatch(/^ord_[0-9a-z]{26}$/);
  });

  it("refuses a header that differs from the field or has a bad form", () => {
    expect(() => identify({ requestId: "a" }, contextOf({ "idempotency-key": "b" }))).toThrow(/differs/);
    expect(() => identify({}, contextOf({ "idempotency-key": "x".repeat(256) }))).toThrow(/printable/);
    expect(() => identify({}, contextOf({ "idempotency-key": "" }))).toThrow(/printable/);
  });
});

describe("the fingerprint of a request", () => {
  it("ignores how far to wait and the order of metadata", () => {
    const one = identify({ requestId: "k", wait: Wait.HELD, metadata: { a: "1", b: "2" } });
    const two = identify({ requestId: "k", wait: Wait.SETTLED, metadata: { b: "2", a: "1" } });
    expect(one.fingerprint).toEqual(two.fingerprint);
  });

  it("stays the same from release to release", () => {
    const { fingerprint } = identify({
      requestId: "k",
      customerId: "ada",
      lines: [
        { productId: "tea", quantity: 2 },
        { productId: "cup", quantity: 1 },
      ],
      expectedTotal: { currencyCode: "EUR", minorUnits: 5n },
      payment: { methodToken: "tok" },
      wait: Wait.SETTLED,
      timeout: { seconds: 5n },
      channel: Channel.POS,
      metadata: { b: "2", a: 'é"', Z: "" },
    });
    expect(Buffer.from(fingerprint).toString("hex")).toBe(
      "95e6db9d88f111b16763c6f7b36776f50a7155585671764b3fb6a45c0480a34a",
    );
  });

  it("differs with what is ordered", () => {
    const one = identify({ requestId: "k", lines: [{ productId: "tea", quantity: 1 }] });
    const two = identify({ requestId: "k", lines: [{ productId: "tea", quantity: 2 }] });
    expect(one.fingerprint).not.toEqual(two.fingerprint);
  });
});
