import { create } from "@bufbuild/protobuf";
import { createContextValues, type HandlerContext } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { systemClock } from "../platform/clock.ts";
import {
  type OrderState,
  OrderStateSchema,
  OrderStatus,
} from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { WatchOrdersRequestSchema } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { scopeKey } from "./call-scope.ts";
import { GATEWAY_LIMITS } from "./limits.ts";
import { watchOrders } from "./order-watch.ts";
import type { ServiceDeps } from "./service-deps.ts";

interface Change {
  readonly key: string;
  readonly sequence: number;
  readonly state: OrderState;
}

function change(key: string, sequence: number, revision: bigint): Change {
  return {
    key,
    sequence,
    state: create(OrderStateSchema, { revision, status: OrderStatus.PENDING, currency: "EUR" }),
  };
}

it("tells what changes while it reads what was missed, and lets no cursor pass what was not told", async () => {
  let hear: (change: Change) => void = () => undefined;
  const feed = { ready: Promise.resolve(), newest: 0, since: () => undefined, close: () => undefined };
  const join = (_tenant: string, listener: typeof hear) => {
    hear = listener;
    return feed;
  };
  // Read before `a` changed once more; meanwhile the live feed tells that change.
  const changesSince = async () => {
    const stored = [change("a", 11, 2n), change("b", 12, 2n)];
    hear(change("a", 13, 3n));
    return stored;
  };
  const deps = {
    clock: systemClock,
    orderFeeds: { join },
    client: { changesSince },
  } as unknown as ServiceDeps;
  const scope = { tenant: "demo", principal: "ada", callId: "c", trace: "" };
  const abort = new AbortController();
  const values = createContextValues().set(scopeKey, scope);
  const context = { values, signal: abort.signal } as unknown as HandlerContext;
  const all = {
    customerId: "",
    oldestMs: 0,
    before: undefined,
    matches: () => true,
    mayHaveMatched: () => true,
  };
  const request = create(WatchOrdersRequestSchema, { cursor: "10" });
  const told: string[] = [];
  for await (const { cursor, event } of watchOrders(deps, GATEWAY_LIMITS, all, request, context)) {
    if (event?.case === "update")
      told.push(`${event.value.order?.id} ${event.value.order?.revision} at ${cursor}`);
    if (told.length === 2) break;
  }
  expect(told).toEqual(["b 2 at 12", "a 3 at 13"]);
});
