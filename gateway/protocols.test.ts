import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { credentials, loadPackageDefinition, type ServiceError } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "../proto/gen/google/rpc/error_details_pb.ts";
import { Health } from "../proto/gen/grpc/health/v1/health_pb.ts";
import { OrderService } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { type Fixture, startFixture } from "./testing.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");
let fixture: Fixture;

beforeAll(async () => {
  fixture = await startFixture();
});
afterAll(() => fixture.server.drain());

const transports: Record<string, () => Transport> = {
  "Connect over HTTP/1.1": () => createConnectTransport({ baseUrl: fixture.server.url, httpVersion: "1.1" }),
  "Connect JSON over HTTP/1.1 with GET": () =>
    createConnectTransport({
      baseUrl: fixture.server.url,
      httpVersion: "1.1",
      useBinaryFormat: false,
      useHttpGet: true,
    }),
  "Connect over HTTP/2": () => createConnectTransport({ baseUrl: fixture.server.url, httpVersion: "2" }),
  gRPC: () => createGrpcTransport({ baseUrl: fixture.server.url }),
  "gRPC-web over HTTP/1.1": () => createGrpcWebTransport({ baseUrl: fixture.server.url, httpVersion: "1.1" }),
  "gRPC-web over HTTP/2": () => createGrpcWebTransport({ baseUrl: fixture.server.url, httpVersion: "2" }),
};

async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => expect.fail("the call did not fail"),
    (error: unknown) => ConnectError.from(error),
  );
}

describe.each(Object.entries(transports))("%s", (_name, transport) => {
  it("answers a unary call", async () => {
    const { order } = await createClient(OrderService, transport()).getOrder({ orderId: "o-1" });
    expect(order?.total?.minorUnits).toBe(1299n);
  });

  it("streams each message", async () => {
    const cursors: string[] = [];
    for await (const { cursor } of createClient(OrderService, transport()).watchOrder({ orderId: "o-1" })) {
      cursors.push(cursor);
    }
    expect(cursors).toEqual(["1", "2", "3"]);
  });

  it("names every bad field", async () => {
    const call = createClient(OrderService, transport()).placeOrder({
      lines: [{ productId: "tea", quantity: 0 }],
    });
    const error = await failureOf(call);
    expect(error.code).toBe(Code.InvalidArgument);
    const [bad] = error.findDetails(BadRequestSchema);
    expect(bad?.fieldViolations.map(({ field }) => field)).toEqual(["customer_id", "lines[0].quantity"]);
    expect(error.findDetails(ErrorInfoSchema)[0]).toMatchObject({
      reason: "VALIDATION",
      domain: "tradewind",
    });
  });

  it("names bad fields of a stream's request", async () => {
    const error = await failureOf(
      (async () => {
        for await (const message of createClient(OrderService, transport()).watchOrder({ orderId: "" }))
          void message;
      })(),
    );
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe("order_id");
  });

  it("carries the typed details of each class of error", async () => {
    const client = createClient(OrderService, transport());
    const missing = await failureOf(client.getOrder({ orderId: "o-2" }));
    expect(missing.code).toBe(Code.NotFound);
    expect(missing.findDetails(ResourceInfoSchema)[0]).toMatchObject({
      resourceType: "order",
      resourceName: "o-2",
    });
    const short = await failureOf(client.getOrder({ orderId: "short" }));
    expect(short.code).toBe(Code.FailedPrecondition);
    expect(short.findDetails(PreconditionFailureSchema)[0]?.violations[0]).toMatchObject({
      type: "OUT_OF_STOCK",
      subject: "tea",
    });
    expect(short.findDetails(ErrorInfoSchema)[0]?.metadata).toEqual({ product_id: "tea", available: "1" });
    const busy = await failureOf(client.getOrder({ orderId: "busy" }));
    expect(busy.findDetails(RetryInfoSchema)[0]?.retryDelay).toMatchObject({
      seconds: 2n,
      nanos: 500_000_000,
    });
    expect(busy.metadata.get("retry-after")).toBe("3");
  });

  it("hides what a defect says", async () => {
    const error = await failureOf(createClient(OrderService, transport()).getOrder({ orderId: "boom" }));
    expect(error.code).toBe(Code.Internal);
    expect(error.message).not.toContain("secret");
    expect(error.findDetails(ErrorInfoSchema)[0]?.metadata["request_id"]).toMatch(/^\w{26}$/);
  });

  it("keeps the caller's deadline", async () => {
    const call = createClient(OrderService, transport()).placeOrder(
      { customerId: "c-1", lines: [{ productId: "tea", quantity: 1 }], timeout: { seconds: 5n } },
      { timeoutMs: 100 },
    );
    expect((await failureOf(call)).code).toBe(Code.DeadlineExceeded);
  });

  it("refuses a deadline over the limit", async () => {
    const error = await failureOf(
      createClient(OrderService, transport()).listOrders({}, { timeoutMs: 31_000 }),
    );
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toContain("30000 ms");
  });

  it("lets a stream live longer than the limit of calls", async () => {
    const client = createClient(OrderService, transport());
    for await (const message of client.watchOrder({ orderId: "o-1" }, { timeoutMs: 60_000 })) void message;
  });

  it("tells the handler that the caller went away", async () => {
    const before = fixture.seen.streamsAborted;
    const abort = new AbortController();
    const stream = createClient(OrderService, transport()).watchOrder(
      { orderId: "forever" },
      { signal: abort.signal },
    );
    const error = await failureOf(
      (async () => {
        for await (const { cursor } of stream) if (cursor === "3") abort.abort();
      })(),
    );
    expect(error.code).toBe(Code.Canceled);
    await expect.poll(() => fixture.seen.streamsAborted).toBe(before + 1);
  });

  it("refuses a message over the size limit and takes the next call", async () => {
    const client = createClient(OrderService, transport());
    const metadata = { note: "x".repeat(1_100_000) };
    const error = await failureOf(client.placeOrder({ customerId: "c-1", lines: [], metadata }));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect((await client.getOrder({ orderId: "o-1" })).order?.id).toBe("o-1");
  });

  it("answers health checks", async () => {
    const client = createClient(Health, transport());
    expect((await client.check({})).status).toBe(1);
    expect((await client.check({ service: OrderService.typeName })).status).toBe(1);
    expect((await failureOf(client.check({ service: "nobody.Service" }))).code).toBe(Code.NotFound);
  });
});

describe("grpc-js", () => {
  const definition = loadSync("tradewind/order/v1/order_service.proto", {
    includeDirs: [join(root, "proto/api"), join(root, "proto/vendor")],
    longs: String,
    enums: String,
  });
  type Call = { [method: string]: (...args: unknown[]) => NodeJS.EventEmitter } & { close(): void };

  function withClient<T>(use: (client: Call) => Promise<T>): Promise<T> {
    const api = loadPackageDefinition(definition) as unknown as {
      tradewind: { order: { v1: { OrderService: new (address: string, creds: unknown) => Call } } };
    };
    const address = `127.0.0.1:${fixture.server.port}`;
    const client = new api.tradewind.order.v1.OrderService(address, credentials.createInsecure());
    return use(client).finally(() => client.close());
  }

  it("calls and streams", async () => {
    await withClient(async (client) => {
      const answer = await new Promise((resolve, reject) => {
        client["GetOrder"]?.({ orderId: "o-1" }, (error: unknown, value: unknown) =>
          error ? reject(error) : resolve(value),
        );
      });
      expect(answer).toMatchObject({ order: { id: "o-1", total: { minorUnits: "1299" } } });
      const cursors = await new Promise<string[]>((resolve, reject) => {
        const got: string[] = [];
        const stream = client["WatchOrder"]?.({ orderId: "o-1" });
        stream?.on("data", ({ cursor }: { cursor: string }) => got.push(cursor));
        stream?.on("end", () => resolve(got));
        stream?.on("error", reject);
      });
      expect(cursors).toEqual(["1", "2", "3"]);
    });
  });

  it("gets the status with its details", async () => {
    await withClient(async (client) => {
      const error = await new Promise<ServiceError>((resolve) => {
        client["PlaceOrder"]?.({}, (failure: ServiceError) => resolve(failure));
      });
      expect(error.code).toBe(3);
      expect(error.metadata.get("grpc-status-details-bin")).toHaveLength(1);
    });
  });
});

describe("buf curl by reflection", () => {
  it.each(["connect", "grpc", "grpcweb"])("calls over %s", async (protocol) => {
    const args = ["curl", "--http2-prior-knowledge", "--protocol", protocol, "--data", '{"orderId":"o-1"}'];
    const { stdout } = await run(
      join(root, "node_modules/.bin/buf"),
      [...args, `${fixture.server.url}/tradewind.order.v1.OrderService/GetOrder`],
      { cwd: root },
    );
    expect(JSON.parse(stdout)).toMatchObject({ order: { id: "o-1", status: "ORDER_STATUS_CONFIRMED" } });
  });

  it.each(["v1", "v1alpha"])("reads every service through reflection %s", async (version) => {
    const { stdout } = await run(
      join(root, "node_modules/.bin/buf"),
      [
        "curl",
        "--http2-prior-knowledge",
        "--reflect-protocol",
        `grpc-${version}`,
        "--list-methods",
        fixture.server.url,
      ],
      { cwd: root },
    );
    expect(stdout).toContain("tradewind.order.v1.OrderService/WatchOrders");
    expect(stdout).toContain("grpc.health.v1.Health/Watch");
  });
});
