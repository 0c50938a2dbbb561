import { describe, expect, it } from "vitest";
import { createHealth } from "./health.ts";

describe("createHealth", () => {
  it("is ready when every part is ok", () => {
    const health = createHealth();
    expect(health.isReady()).toBe(true);
    health.register("nats");
    expect(health.isReady()).toBe(false);
    expect(health.components()["nats"]).toEqual({ ok: false, reason: "starting", vital: false });
    health.ok("nats");
    health.fail("projection", "4,000 entries behind");
    expect(health.isReady()).toBe(false);
    health.remove("projection");
    expect(health.isReady()).toBe(true);
  });

  it("stays live while a vital part is starting, and dies when it fails later", () => {
    const health = createHealth();
    health.register("loop", { vital: true });
    expect(health.isLive()).toBe(true);
    health.ok("loop");
    health.fail("nats", "disconnected");
    expect(health.isLive()).toBe(true);
    health.fail("loop", "stalled for 30 s");
    expect(health.isLive()).toBe(false);
  });

  it("tells listeners of changes only, until they leave", () => {
    const health = createHealth();
    let told = 0;
    const leave = health.onChange(() => told++);
    health.ok("nats");
    health.ok("nats");
    health.fail("nats", "disconnected");
    expect(told).toBe(2);
    leave();
    health.ok("nats");
    expect(told).toBe(2);
  });

  it("is never ready again once stopping", () => {
    const health = createHealth();
    health.ok("nats");
    health.stopping();
    expect(health.isReady()).toBe(false);
    expect(health.isLive()).toBe(true);
    expect(health.components()["shutdown"]?.reason).toBe("stopping");
  });
});
