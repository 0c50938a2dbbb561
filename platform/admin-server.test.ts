import { describe, expect, it, onTestFinished } from "vitest";
import { startAdminServer } from "./admin-server.ts";
import { createHealth } from "./health.ts";

async function start(metrics?: () => Promise<string>) {
  const health = createHealth();
  const options = { port: 0, health, info: { role: "test" }, ...(metrics === undefined ? {} : { metrics }) };
  const server = await startAdminServer(options);
  onTestFinished(() => server.close());
  const get = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${server.port}${path}`, init);
  return { health, server, get };
}

describe("startAdminServer", () => {
  it("answers the probes with every part and its reason", async () => {
    const { health, get } = await start();
    health.ok("gateway");
    health.fail("nats", "disconnected");
    const ready = await get("/readyz");
    expect(ready.status).toBe(503);
    expect(await ready.json()).toEqual({
      ok: false,
      components: {
        gateway: { ok: true, reason: "", vital: false },
        nats: { ok: false, reason: "disconnected", vital: false },
      },
      role: "test",
    });
    expect((await get("/livez")).status).toBe(200);
    health.ok("nats");
    expect((await get("/readyz?verbose")).status).toBe(200);
  });

  it("serves the metrics of the process", async () => {
    const { get } = await start();
    const response = await get("/metrics");
    expect(response.headers.get("content-type")).toContain("text/plain; version=0.0.4");
    expect(await response.text()).toContain("process_cpu_seconds_total");
  });

  it("answers 404, 405 and 500 without falling over", async () => {
    const { get } = await start(() => Promise.reject(new Error("broken collector")));
    expect((await get("/")).status).toBe(404);
    expect((await get("/livez", { method: "POST" })).status).toBe(405);
    const broken = await get("/metrics");
    expect(broken.status).toBe(500);
    expect(await broken.text()).toContain("broken collector");
  });

  it("frees its port on close, and says when a port is taken", async () => {
    const { server } = await start();
    await expect(startAdminServer({ port: server.port, health: createHealth() })).rejects.toThrow(
      "EADDRINUSE",
    );
    await server.close();
    const next = await startAdminServer({ port: server.port, health: createHealth() });
    await next.close();
  });
});
