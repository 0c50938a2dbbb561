import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, describe, expect, it } from "vitest";
import { ErrorInfoSchema, RetryInfoSchema } from "../proto/gen/google/rpc/error_details_pb.ts";
import { Health } from "../proto/gen/grpc/health/v1/health_pb.ts";
import { OrderService } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { loopbackAuthenticator } from "./call-scope.ts";
import type { GatewayServerOptions } from "./server.ts";
import { type Fixture, startFixture } from "./testing.ts";

const open: Fixture[] = [];
async function start(options: Partial<GatewayServerOptions> = {}): Promise<Fixture> {
  const fixture = await startFixture(options);
  open.push(fixture);
  return fixture;
}
afterEach(() => Promise.all(open.splice(0).map(({ server }) => server.drain())));

const PLACE = "/tradewind.order.v1.OrderService/PlaceOrder";
const GET = "/tradewind.order.v1.OrderService/GetOrder";

function post(
  fixture: Fixture,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${fixture.server.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

async function closedAfter(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", () => undefined);
  await once(socket, "close");
  return Buffer.concat(chunks).toString("latin1");
}

describe("JSON over HTTP/1.1", () => {
  it("answers with readable JSON, zero values included", async () => {
    const fixture = await start();
    const response = await post(fixture, GET, { orderId: "o-1" });
    expect(response.headers.get("x-request-id")).toMatch(/^\w{26}$/);
    const { order } = (await response.json()) as { order: Record<string, unknown> };
    expect(order).toMatchObject({ status: "ORDER_STATUS_CONFIRMED", revision: "0", customerId: "" });
  });

  it("keeps the trace context that the caller sends, and makes none up", async () => {
    const fixture = await start();
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const order = { customerId: "ada", lines: [{ productId: "tea", quantity: 1 }], idempotencyKey: "k" };
    for (const headers of [{ traceparent }, {}, { traceparent: "00-short-01" }])
      expect((await post(fixture, PLACE, order, headers as Record<string, string>)).status).toBe(200);
    expect(fixture.seen.traces).toEqual([traceparent, "", ""]);
  });

  it("explains JSON that cannot be read", async () => {
    const fixture = await start();
    const response = await post(fixture, GET, '{"orderId":7}');
    expect(response.status).toBe(400);
    const error = (await response.json()) as { code: string; message: string; details: { debug: object }[] };
    expect(error.code).toBe("invalid_argument");
    expect(error.message).toContain("order_id");
    expect(error.details[0]?.debug).toMatchObject({ reason: "VALIDATION" });
  });

  it("says what to send instead of an unknown content type, method or path", async () => {
    const fixture = await start();
    const type = await post(fixture, GET, "{}", { "content-type": "text/plain" });
    expect(type.status).toBe(415);
    expect(await type.text()).toContain("send application/json");
    const method = await fetch(`${fixture.server.url}${PLACE}`);
    expect([method.status, await method.text()]).toEqual([405, expect.stringContaining("use POST")]);
    const path = await fetch(`${fixture.server.url}/nothing`);
    expect([path.status, await path.text()]).toEqual([
      404,
      expect.stringContaining("nothing at GET /nothing"),
    ]);
  });

  it("refuses an announced length over the limit without reading it, and closes", async () => {
    const fixture = await start();
    const response = await post(fixture, PLACE, "x".repeat(2_000_000));
    expect(response.status).toBe(413);
    expect(response.headers.get("connection")).toBe("close");
    expect(await response.json()).toMatchObject({ code: "resource_exhausted" });
  });

  it("reads a body that comes in pieces, and the next call after it", async () => {
    const fixture = await start();
    const socket = connect(fixture.server.port, "127.0.0.1");
    const body = JSON.stringify({ orderId: "o-1" });
    const head = `POST ${GET} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n`;
    socket.write(`${head}content-length: ${body.length}\r\n\r\n`);
    await post(fixture, GET, { orderId: "o-1" });
    socket.write(body.slice(0, 5));
    const last = `${head}connection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    socket.write(`${body.slice(5)}${last}`);
    expect((await closedAfter(socket)).match(/HTTP\/1.1 200/g)).toHaveLength(2);
  });

  it("serves reads by GET", async () => {
    const fixture = await start();
    const query = new URLSearchParams({ encoding: "json", message: '{"orderId":"o-1"}' });
    const response = await fetch(`${fixture.server.url}${GET}?${query.toString()}`);
    expect(await response.json()).toMatchObject({ order: { id: "o-1" } });
  });
});

describe("limits", () => {
  it("drops a client that never finishes its headers", async () => {
    const fixture = await start({ limits: { headersTimeoutMs: 300 } });
    const socket = connect(fixture.server.port, "127.0.0.1");
    socket.write("POST /x HTTP/1.1\r\nhost: a\r\n");
    expect(await closedAfter(socket)).toContain("408");
  });

  it("drops a client that says nothing", async () => {
    const fixture = await start({ limits: { headersTimeoutMs: 200 } });
    const socket = connect(fixture.server.port, "127.0.0.1");
    socket.write("PRI * HT");
    expect(await closedAfter(socket)).toBe("");
  });

  it("refuses calls above the number in flight, with a delay", async () => {
    const fixture = await start({ limits: { callsInFlightMax: 1 } });
    const slow = post(fixture, PLACE, {
      customerId: "c",
      lines: [{ productId: "p", quantity: 1 }],
      timeout: "1s",
    });
    await expect.poll(fixture.metrics).toContain("tradewind_gateway_calls_in_flight_count 1");
    const refused = await post(fixture, GET, { orderId: "o-1" });
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
    expect((await slow).status).toBe(200);
    expect((await post(fixture, GET, { orderId: "o-1" })).status).toBe(200);
  });

  it("asks admission before a write, and lets reads and health pass", async () => {
    const admission = [
      {
        admit: ({ isWrite }: { isWrite: boolean }) =>
          isWrite ? { reason: "backlog", retryAfterMs: 1_500 } : undefined,
      },
    ];
    const fixture = await start({ admission });
    const transport = createGrpcTransport({ baseUrl: fixture.server.url });
    const client = createClient(OrderService, transport);
    const error = ConnectError.from(await client.placeOrder({}).catch((thrown: unknown) => thrown));
    expect([error.code, error.rawMessage]).toEqual([Code.ResourceExhausted, "backlog"]);
    expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds).toBe(1n);
    expect((await client.getOrder({ orderId: "o-1" })).order?.id).toBe("o-1");
    expect((await createClient(Health, transport).check({})).status).toBe(1);
  });

  it("ends a call without a deadline at the limit", async () => {
    const fixture = await start({ limits: { deadlineMsMax: 100 } });
    const response = await post(fixture, PLACE, {
      customerId: "c",
      lines: [{ productId: "p", quantity: 1 }],
      timeout: "2s",
    });
    expect([response.status, await response.json()]).toEqual([
      504,
      expect.objectContaining({ code: "deadline_exceeded" }),
    ]);
  });
});

describe("identity", () => {
  it("refuses who is not on this machine, unless open", async () => {
    const local = loopbackAuthenticator({ tenant: "demo", principal: "dev" });
    expect(() => local.authenticate(new Headers(), { address: "10.0.0.7" })).toThrow(/GATEWAY_OPEN/);
    expect(local.authenticate(new Headers(), { address: "::ffff:127.0.0.1" })).toMatchObject({
      tenant: "demo",
    });
    const everybody = loopbackAuthenticator({ tenant: "demo", principal: "dev" }, true);
    expect(everybody.authenticate(new Headers(), { address: "10.0.0.7" })).toMatchObject({ tenant: "demo" });
  });
});

describe("CORS", () => {
  const preflight = (origin: string) => ({
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "idempotency-key",
    },
  });

  it("lets pages of this machine call, and no others", async () => {
    const fixture = await start();
    const allowed = await fetch(`${fixture.server.url}${PLACE}`, preflight("http://localhost:3000"));
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get("access-control-allow-origin")).toBe("http://localhost:3000");
    expect(allowed.headers.get("access-control-allow-headers")).toContain("idempotency-key");
    expect(allowed.headers.get("access-control-max-age")).toBe("7200");
    const other = await fetch(`${fixture.server.url}${PLACE}`, preflight("https://evil.example"));
    expect(other.headers.get("access-control-allow-origin")).toBeNull();
    const call = await post(fixture, GET, { orderId: "o-1" }, { origin: "http://localhost:3000" });
    expect(call.headers.get("access-control-expose-headers")).toContain("Grpc-Status");
  });
});

describe("drain", () => {
  it.each(["1.1", "2", "grpc"] as const)(
    "ends streams with a retryable error and lets calls finish (%s)",
    async (kind) => {
      const fixture = await start();
      const baseUrl = fixture.server.url;
      const transport =
        kind === "grpc"
          ? createGrpcTransport({ baseUrl })
          : createConnectTransport({ baseUrl, httpVersion: kind });
      const client = createClient(OrderService, transport);
      const lines = [{ productId: "p", quantity: 1 }];
      const call = client.placeOrder({
        customerId: "c-1",
        lines,
        timeout: { seconds: 0n, nanos: 300_000_000 },
      });
      let drained: Promise<void> | undefined;
      const ending = (async () => {
        for await (const { cursor } of client.watchOrder({ orderId: "forever" })) {
          if (cursor === "3") drained = fixture.server.drain();
        }
      })();
      const error = ConnectError.from(await ending.catch((thrown: unknown) => thrown));
      expect(error.code).toBe(Code.Unavailable);
      expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe("DRAINING");
      expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
      expect((await call).order?.id).toBe("ord_1");
      await drained;
      await expect(fetch(`${baseUrl}/`)).rejects.toThrow("fetch failed");
    },
  );

  it("cuts what is left at the deadline", async () => {
    const fixture = await start({ limits: { drainDeadlineMs: 200 } });
    const body = { customerId: "c", lines: [{ productId: "p", quantity: 1 }], timeout: "5s" };
    const call = post(fixture, PLACE, body);
    await expect.poll(fixture.metrics).toContain("tradewind_gateway_calls_in_flight_count 1");
    await fixture.server.drain();
    const answer = await call.then(
      (response) => response.status,
      () => 503,
    );
    expect(answer).toBe(503);
  });
});

describe("health", () => {
  it("flips a watch when a part fails, and back", async () => {
    const { server, health } = await start();
    const client = createClient(Health, createGrpcTransport({ baseUrl: server.url }));
    const abort = new AbortController();
    const statuses: number[] = [];
    const watching = (async () => {
      for await (const { status } of client.watch(
        { service: OrderService.typeName },
        { signal: abort.signal },
      )) {
        statuses.push(status);
        if (statuses.length === 1) health.fail("nats", "connection lost");
        if (statuses.length === 2) health.ok("nats");
        if (statuses.length === 3) abort.abort();
      }
    })();
    await expect(watching).rejects.toThrow(/canceled|abort/);
    expect(statuses).toEqual([1, 2, 1]);
  });
});

describe("metrics", () => {
  it("count calls by how they ended", async () => {
    const fixture = await start();
    await post(fixture, GET, { orderId: "o-1" });
    await post(fixture, GET, { orderId: "o-9" });
    await fetch(`${fixture.server.url}/v1/orders/o-1:watch`).then((response) => response.text());
    const text = await fixture.metrics();
    const method = 'method="tradewind.order.v1.OrderService';
    expect(text).toContain(`tradewind_gateway_calls_total{${method}/GetOrder",code="ok"} 1`);
    expect(text).toContain(`tradewind_gateway_calls_total{${method}/GetOrder",code="not_found"} 1`);
    expect(text).toContain(`tradewind_gateway_calls_total{${method}/WatchOrder",code="ok"} 1`);
    expect(text).toContain("tradewind_gateway_streams_open_count 0");
  });
});

describe("keep-alive", () => {
  it("goes on after a refused body on a connection of its own", async () => {
    const fixture = await start();
    const chunked = () =>
      new Promise<number>((resolve, reject) => {
        const request = httpRequest(
          `${fixture.server.url}${PLACE}`,
          { method: "POST", headers: { "content-type": "application/json" } },
          (response) => {
            response.resume();
            resolve(response.statusCode ?? 0);
          },
        );
        request.on("error", reject);
        request.write("x".repeat(600_000));
        request.end("x".repeat(600_000));
      });
    expect(await chunked()).toBe(429);
    expect((await post(fixture, GET, { orderId: "o-1" })).status).toBe(200);
  });
});
