import { execFile } from "node:child_process";
import { connect } from "node:net";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { sleep, systemClock } from "../platform/clock.ts";
import { AnalyticsService } from "../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { InventoryService } from "../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { OrderService } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { WATCH_PATHS } from "./event-stream.ts";
import type { GatewayServerOptions } from "./server.ts";
import { type Fixture, startFixture } from "./testing.ts";

const run = promisify(execFile);
let fixture: Fixture;
beforeAll(async () => {
  fixture = await startFixture();
});
afterAll(() => fixture.server.drain());

it("streams to curl -N, one event for each message", async () => {
  const { stdout } = await run("curl", ["-sN", `${fixture.server.url}/v1/orders/o-1:watch`]);
  const events = stdout.split("\n\n").filter((event) => event !== "");
  expect(events).toHaveLength(5);
  expect(events[1]).toMatch(/^id: 1\nevent: snapshot\ndata: \{"cursor":"1","snapshot":\{"id":"o-1"/);
  expect(events[3]).toMatch(/^id: 3\nevent: update\ndata: /);
  expect(events[4]).toBe("event: end\ndata: {}");
});

it("has headers that proxies do not buffer", async () => {
  const response = await fetch(`${fixture.server.url}/v1/orders/o-1:watch`);
  expect(response.headers.get("content-type")).toContain("text/event-stream");
  expect(response.headers.get("cache-control")).toBe("no-store");
  await response.text();
});

it("serves the rpc's own path by GET, with its fields as parameters", async () => {
  const path = "/tradewind.order.v1.OrderService/WatchOrder";
  for (const query of ["?order_id=o-1", "?orderId=o-1&untilSettled=true"]) {
    const text = await (await fetch(`${fixture.server.url}${path}${query}`)).text();
    expect(text).toContain("event: snapshot");
  }
});

it("goes on behind Last-Event-ID, and stops a browser when nothing is left", async () => {
  const headers = { "last-event-id": "2" };
  const text = await (await fetch(`${fixture.server.url}/v1/orders/o-1:watch`, { headers })).text();
  expect(text).not.toContain("event: snapshot");
  expect(text).toContain("id: 3");
  const rest = await fetch(`${fixture.server.url}/v1/orders/o-1:watch?cursor=3`);
  expect(rest.status).toBe(204);
});

it.each([
  ["/v1/orders/gone:watch", 404, "not_found", "there is no order gone"],
  ["/v1/orders/o-1:watch?nonsense=1", 400, "invalid_argument", "nonsense"],
  ["/v1/orders/o-1:watch?until_settled=maybe", 400, "invalid_argument", "until_settled"],
  ["/v1/orders/%21:watch", 400, "invalid_argument", "order_id"],
  ["/v1/orders:watch?filter.statuses=BOGUS", 400, "invalid_argument", "BOGUS"],
  ["/v1/orders:watch?snapshot_size=501", 400, "invalid_argument", "snapshot_size"],
])("answers %s with status %i", async (path, status, code, text) => {
  const response = await fetch(`${fixture.server.url}${path}`);
  expect(response.status).toBe(status);
  expect(await response.json()).toMatchObject({ code, message: expect.stringContaining(text) });
});

it("takes repeated and nested fields, and enums without their prefix", async () => {
  const query =
    "filter.statuses=pending,CONFIRMED&filter.customerId=c-1&filter.created.start=2026-01-01T00:00:00Z";
  const response = await fetch(`${fixture.server.url}/v1/orders:watch?${query}`);
  expect(response.status).toBe(200);
  await response.text();
});

it("tells the handler when curl goes away", async () => {
  const abort = new AbortController();
  const response = await fetch(`${fixture.server.url}/v1/orders/forever:watch`, { signal: abort.signal });
  await response.body?.getReader().read();
  const before = fixture.seen.streamsAborted;
  abort.abort();
  await expect.poll(() => fixture.seen.streamsAborted).toBe(before + 1);
});

it("ends with an error event when the server drains", async () => {
  const other = await startFixture();
  const response = await fetch(`${other.server.url}/v1/orders/forever:watch`);
  const text = response.text();
  await other.server.drain();
  expect(await text).toMatch(/event: error\ndata: \{"code":"unavailable".*DRAINING/);
});

it("cuts a client that asks and takes nothing, and no other", async () => {
  const large = { id: "x".repeat(1_000_000) };
  const listening = new Set<string>();
  const endless = {
    async *watchOrder({ orderId }: { orderId: string }) {
      listening.add(orderId);
      try {
        for (;;) {
          yield { cursor: "1", event: { case: "snapshot", value: orderId === "large" ? large : {} } };
          await sleep(systemClock, 50);
        }
      } finally {
        listening.delete(orderId);
      }
    },
  };
  const others = Object.fromEntries(OrderService.methods.map(({ localName }) => [localName, () => ({})]));
  const register: GatewayServerOptions["register"] = (table) =>
    table.add(OrderService, { ...others, ...endless } as never);
  const { server } = await startFixture({ register, limits: { stalledMsMax: 500 } });
  const open = (id: string) => {
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    socket.write(`GET /v1/orders/${id}:watch HTTP/1.1\r\nhost: localhost\r\n\r\n`);
    return socket;
  };
  const reader = open("small").resume();
  const stalled = open("large").pause();
  await expect.poll(() => [...listening].toSorted()).toEqual(["large", "small"]);
  await expect.poll(() => [...listening], { timeout: 4_000 }).toEqual(["small"]);
  for (const socket of [reader, stalled]) socket.destroy();
  await server.drain();
});

it("has a path for every Watch rpc of the API", () => {
  const watches = [OrderService, InventoryService, AnalyticsService].flatMap(({ typeName, methods }) =>
    methods
      .filter(({ methodKind }) => methodKind === "server_streaming")
      .map(({ name }) => `${typeName}/${name}`),
  );
  expect(Object.keys(WATCH_PATHS).sort()).toEqual(watches.sort());
});
