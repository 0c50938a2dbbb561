import { createServer } from "node:http";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { API } from "../../cli/api-paths.ts";
import { root, run } from "../run/process.ts";
import { until } from "./calls.ts";
import { devPlace, processesOf, startDev } from "./dev-process.ts";

const order = (quantity: number) => ({
  customerId: "ada",
  lines: [{ productId: "tea", quantity }],
  payment: { methodToken: "tok_ok" },
  wait: "WAIT_SETTLED",
});

async function call<R>(url: string, path: string, request: object, key?: string): Promise<R> {
  const headers = {
    "content-type": "application/json",
    ...(key !== undefined && { "idempotency-key": key }),
  };
  const response = await fetch(`${url}${path}`, { method: "POST", headers, body: JSON.stringify(request) });
  const body = await response.text();
  expect(response.status, body).toBe(200);
  return JSON.parse(body) as R;
}

interface Placed {
  readonly order: { readonly id: string; readonly status: string };
}

describe("npm start", () => {
  it("serves from nothing, keeps its data over kill -9, and leaves no process behind", async () => {
    using place = await devPlace();
    const first = await startDev(place, ["npm", "start"]);
    const placed = await call<Placed>(first.url, API.placeOrder, order(3), "e2e-1");
    expect(placed.order.status).toBe("ORDER_STATUS_CONFIRMED");

    first.signal("SIGKILL");
    await first.ended;
    await until(() => processesOf(place.dataDir).length === 0);

    await using second = await startDev(place);
    const path = "/tradewind.order.v1.OrderService/GetOrder";
    const found = await call<Placed>(second.url, path, { orderId: placed.order.id });
    expect(found.order).toMatchObject({ status: "ORDER_STATUS_CONFIRMED" });
    const again = await call<Placed>(second.url, API.placeOrder, order(3), "e2e-1");
    expect(again.order.id).toBe(placed.order.id);
    const { stock } = await call<{ stock: { onHand: string } }>(second.url, API.getStock, {
      productId: "tea",
    });
    expect(stock.onHand).toBe("9997");
    const books = await call<{ verdict: string }>(second.url, "/tradewind.ops.v1.OpsService/Reconcile", {});
    expect(books.verdict).toBe("RECONCILE_VERDICT_CLEAN");
    const inspect = ["cli/main.ts", "inspect", "--nats", second.natsUrl, "actors", "tenant.demo.demo"];
    expect(JSON.parse((await run("node", inspect)).output)).toMatchObject({
      value: { state: { name: "Demo" } },
    });
  });

  it("ends when npm is killed, and nobody else", async () => {
    using place = await devPlace();
    const first = await startDev(place, ["npm", "start"]);
    process.kill(first.pid, "SIGKILL");
    await first.ended;
    await until(() => processesOf(place.dataDir).length === 0);
    await using second = await startDev(place);
    expect(second.output()).not.toMatch(/"level":"error"/);
  });

  it("stops in order at Ctrl-C, and begins anew with --fresh", async () => {
    using place = await devPlace();
    const first = await startDev(place);
    await call(first.url, API.placeOrder, order(1));
    first.signal("SIGINT");
    expect(await first.ended).toBe(0);
    expect(first.output()).toContain("stopping");
    expect(processesOf(place.dataDir)).toEqual([]);
    expect(existsSync(join(place.dataDir, "dev.json"))).toBe(false);

    await using second = await startDev(place, ["node", "cli/main.ts", "dev", "--fresh"]);
    const { orders } = await call<{ orders: unknown[] }>(
      second.url,
      "/tradewind.order.v1.OrderService/ListOrders",
      {},
    );
    expect(orders).toEqual([]);
  });

  it("goes on when nats-server is killed", async () => {
    using place = await devPlace();
    await using system = await startDev(place);
    const server = processesOf(place.dataDir).find((line) => /nats-server --config/.test(line));
    process.kill(Number(server?.split(" ")[0]), "SIGKILL");
    const flags = ["--count", "50", "--max-product", "5", "--url", system.url];
    const { exitCode, output } = await run("node", ["cli/main.ts", "seed", ...flags]);
    expect(output).toMatch(/success +50\n/);
    expect(exitCode).toBe(0);
    await until(
      async () => (await run("node", ["cli/main.ts", "reconcile", "--url", system.url])).exitCode === 0,
    );
  });

  it("says what to do when its port or its data folder is taken", async () => {
    using place = await devPlace();
    const other = createServer();
    await new Promise<void>((resolve) => void other.listen(place.port, "127.0.0.1", resolve));
    await expect(startDev(place)).rejects.toThrow(`port ${place.port} is taken`);
    await new Promise<void>((resolve) => void other.close(() => resolve()));

    await using first = await startDev(place);
    const env = { ...place.env, PORT: "0" };
    await expect(startDev({ ...place, env })).rejects.toThrow(`is in use by process ${first.pid}`);
  });
});

describe("roles", () => {
  it("name the bad setting and end with its exit code", async () => {
    const { exitCode, output } = await run("env", [
      "PSP_URL=ftp://x",
      "node",
      "actors/main.ts",
      "--group",
      "core",
    ]);
    expect(output).toContain("PSP_URL: must be a URL with http or https or memory");
    expect(exitCode).toBe(78);
  });

  it("refuse a group that does not exist", async () => {
    const { exitCode, output } = await run("env", [
      "ADMIN_PORT=0",
      "node",
      "actors/main.ts",
      "--group",
      "sales",
    ]);
    expect(output).toContain("there is no group sales: use --group with core or analytics");
    expect(exitCode).toBe(64);
  });

  it("run from any folder", async () => {
    const { exitCode, output } = await run("env", ["-C", "/", "node", join(root, "cli/main.ts"), "--help"]);
    expect(output).toContain("Usage: tradewind");
    expect(exitCode).toBe(0);
  });
});
