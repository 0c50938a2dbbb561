import { spawn } from "node:child_process";
import { createServer, type AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { cpuOfTrees, listenerOf } from "./process-cpu.ts";

const isLinux = process.platform === "linux";

describe("CPU of process trees", () => {
  it("counts a process with what it has started", () => {
    const child = spawn("sleep", ["5"]);
    try {
      const trees = cpuOfTrees([process.pid, 2 ** 22 - 1]);
      expect(trees).toHaveLength(isLinux ? 1 : 0);
      if (!isLinux) return;
      expect(trees[0]).toMatchObject({ root: process.pid });
      expect(trees[0]?.processes).toBeGreaterThan(1);
      expect(trees[0]?.seconds).toBeGreaterThan(0);
    } finally {
      child.kill();
    }
  });

  it("finds who listens on a port", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    expect(listenerOf(port)).toBe(isLinux ? process.pid : undefined);
    await new Promise<void>((resolve) => void server.close(() => resolve()));
    expect(listenerOf(port)).toBeUndefined();
  });
});
