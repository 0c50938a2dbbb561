import { describe, expect, it } from "vitest";
import { renderServerConfig } from "./config-file.ts";

const base = {
  serverName: "tradewind",
  dataDir: '/data/a "quoted" folder',
  portsDir: "/data/run/ports",
  logFile: "/data/run/log",
  port: 4222,
  monitorPort: -1,
  syncInterval: "always",
};

describe("renderServerConfig", () => {
  it("binds loopback only, syncs always and quotes paths", () => {
    const text = renderServerConfig(base);
    expect(text).toContain('listen: "127.0.0.1:4222"');
    expect(text).toContain('http: "127.0.0.1:-1"');
    expect(text).toContain('sync_interval: "always"');
    expect(text).toContain('store_dir: "/data/a \\"quoted\\" folder"');
    expect(text).not.toContain("cluster");
    expect(text).not.toContain("max_file_store");
  });

  it("adds a limit, a cluster and own lines on request", () => {
    const cluster = { name: "c", port: 20_001, routePorts: [20_001, 20_002] };
    const text = renderServerConfig({
      ...base,
      maxFileStoreBytes: 1_000_000,
      cluster,
      extraConfig: "max_payload: 2MB",
    });
    expect(text).toContain("max_file_store: 1000000");
    expect(text).toContain('"nats://127.0.0.1:20002"');
    expect(text).toMatch(/max_payload: 2MB\n$/);
  });
});
