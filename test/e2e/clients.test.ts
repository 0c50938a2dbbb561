import { execFile } from "node:child_process";
import type { EventEmitter } from "node:events";
import { join } from "node:path";
import { promisify } from "node:util";
import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { credentials, loadPackageDefinition, Metadata, type ServiceError } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../proto/gen/grpc/health/v1/health_pb.ts";
import { OrderStatus } from "../../proto/gen/tradewind/order/v1/order_pb.ts";
import { OrderService } from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { root } from "../run/process.ts";
import { failureOf, orderOf, readUntil, SOON } from "./calls.ts";
import { startSystem, type System } from "./system.ts";

const run = promisify(execFile);

let system: System;
beforeAll(async () => {
  system = await startSystem();
  await system.product("tea", 1_000n, 500n);
});
afterAll(() => system[Symbol.asyncDispose]());

const REQUEST = {
  customerId: "ada",
  lines: [{ productId: "tea", quantity: 2 }],
  payment: { methodToken: "tok_ok" },
  wait: "WAIT_SETTLED",
};

describe("grpc-js", () => {
  type Method = (...args: unknown[]) => EventEmitter;
  interface Answer {
    readonly order: {
      readonly id: string;
      readonly status: string;
      readonly total: { readonly minorUnits: string };
    };
    readonly waitReached: boolean;
  }

  const definition = loadSync("tradewind/order/v1/order_service.proto", {
    includeDirs: [join(root, "proto/api"), join(root, "proto/vendor")],
    longs: String,
    enums: String,
  });
  let client: Record<string, Method> & { close(): void };
  beforeAll(() => {
    const api = loadPackageDefinition(definition) as unknown as {
      tradewind: { order: { v1: { OrderService: new (address: string, creds: unknown) => typeof client } } };
    };
    const { OrderService: GrpcClient } = api.tradewind.order.v1;
    client = new GrpcClient(new URL(system.url).host, credentials.createInsecure());
  });
  afterAll(() => client.close());

  function call<R>(name: string, request: object, metadata = new Metadata()): Promise<R> {
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    client[name]?.(request, metadata, (error: ServiceError | null, answer: R) =>
      error === null ? resolve(answer) : reject(error),
    );
    return promise;
  }

  it("places an order, once for each key, and watches it to its end", async () => {
    const metadata = new Metadata();
    metadata.set("idempotency-key", "from-grpc-js");
    const first = await call<Answer>("PlaceOrder", REQUEST, metadata);
    expect(first).toMatchObject({
      waitReached: true,
      order: { status: "ORDER_STATUS_CONFIRMED", total: { minorUnits: "1000" } },
    });
    const again = await call<Answer>("PlaceOrder", REQUEST, metadata);
    expect(again.order.id).toBe(first.order.id);
    const { promise, resolve, reject } = Promise.withResolvers<object[]>();
    const seen: object[] = [];
    const stream = client["WatchOrder"]?.({ orderId: first.order.id, untilSettled: true });
    stream?.on("data", (message: object) => seen.push(message));
    stream?.on("end", () => resolve(seen));
    stream?.on("error", reject);
    expect(await promise).toMatchObject([{ snapshot: { status: "ORDER_STATUS_CONFIRMED" } }]);
  });

  it("gets a status with its details", async () => {
    const error = await call("GetOrder", { orderId: "ord_none" }).then(
      () => expect.fail("the call did not fail"),
      (thrown: unknown) => thrown as ServiceError,
    );
    expect([error.code, error.details]).toEqual([5, "there is no order ord_none"]);
    const [details] = error.metadata.get("grpc-status-details-bin");
    expect(Buffer.from(details as Buffer).toString("latin1")).toContain("NOT_FOUND");
  });
});

describe("buf curl by reflection", () => {
  it.each(["connect", "grpc", "grpcweb"])("places an order over %s", async (protocol) => {
    const url = `${system.url}/tradewind.order.v1.OrderService/PlaceOrder`;
    const args = [
      "curl",
      "--http2-prior-knowledge",
      "--protocol",
      protocol,
      "--data",
      JSON.stringify(REQUEST),
      url,
    ];
    const { stdout } = await run(join(root, "node_modules/.bin/buf"), args, { cwd: root });
    expect(JSON.parse(stdout)).toMatchObject({
      waitReached: true,
      order: { status: "ORDER_STATUS_CONFIRMED" },
    });
  });
});

describe("a browser", () => {
  it.each([
    ["Connect", createConnectTransport],
    ["gRPC-web", createGrpcWebTransport],
  ])("places an order over %s", async (_name, transport) => {
    const client = createClient(OrderService, transport({ baseUrl: system.url }));
    const { order } = await client.placeOrder(orderOf("tea", 3));
    expect(order?.status).toBe(OrderStatus.CONFIRMED);
    expect(await failureOf(client.getOrder({ orderId: "ord_none" }))).toMatchObject({ reason: "NOT_FOUND" });
  });

  it("may read by GET, and may call from a page of this machine", async () => {
    const query = new URLSearchParams({ encoding: "json", message: '{"pageSize":1}' });
    const url = `${system.url}/tradewind.order.v1.OrderService/ListOrders?${query.toString()}`;
    const response = await fetch(url, { headers: { origin: "http://localhost:5173" } });
    expect(response.headers.get("access-control-allow-origin")).toBe("http://localhost:5173");
    expect(await response.json()).toMatchObject({ orders: [{ status: "ORDER_STATUS_CONFIRMED" }] });
  });
});

describe("while nats-server is gone", () => {
  it("health turns and turns back, calls are refused soon and safely, and nothing is lost", async () => {
    const before = await system.client(OrderService).placeOrder({ ...orderOf("tea"), requestId: "before" });
    const statuses: ServingStatus[] = [];
    const health = await readUntil(
      (signal) => system.client(Health).watch({}, { signal }),
      async (all) => {
        statuses.push(all.at(-1)?.status ?? 0);
        if (all.length === 1) await system.nats.kill();
        if (all.length === 2) {
          const options = { timeoutMs: 5_000 };
          const failure = await failureOf(system.client(OrderService).placeOrder(orderOf("tea"), options));
          expect([Code.Unavailable, Code.ResourceExhausted]).toContain(failure.code);
          expect(await system.client(Health).check({})).toMatchObject({ status: ServingStatus.NOT_SERVING });
          await system.nats.restart();
        }
        return all.length === 3;
      },
    );
    expect(health.map(({ status }) => status)).toEqual([
      ServingStatus.SERVING,
      ServingStatus.NOT_SERVING,
      ServingStatus.SERVING,
    ]);
    const place = async () => {
      const { order } = await system
        .client(OrderService)
        .placeOrder({ ...orderOf("tea"), requestId: "after" });
      return order?.status;
    };
    await expect.poll(place, SOON).toBe(OrderStatus.CONFIRMED);
    const again = await system.client(OrderService).placeOrder({ ...orderOf("tea"), requestId: "before" });
    expect(again.order).toMatchObject({ id: before.order?.id, status: OrderStatus.CONFIRMED });
  });
});
