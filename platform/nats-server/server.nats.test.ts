import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { describe, expect, it, onTestFinished } from "vitest";
import { silentLogger } from "../log.ts";
import { connectNats } from "../nats.ts";
import { isRunning, markProcess } from "./pid-lock.ts";
import { NatsServerStartError, startNatsServer, type StartOptions } from "./server.ts";
import { StoreInUseError } from "./store-lock.ts";
import { testBinary, testServer } from "./testing.ts";

async function connected(url: string) {
  const nc = await connectNats({ servers: url, name: "test", log: silentLogger });
  onTestFinished(() => nc.close());
  return nc;
}

async function started(options: Partial<StartOptions> = {}) {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "tradewind-data-"));
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
  const server = await startNatsServer({ binary: await testBinary(), ...options, dataDir });
  onTestFinished(() => server.stop()); // runs before the removal
  return server;
}

const countOf = async (url: string) =>
  (await (await jetstreamManager(await connected(url))).streams.info("S")).state.messages;

async function write(url: string, count: number) {
  const nc = await connected(url);
  await (await jetstreamManager(nc)).streams.add({ name: "S", subjects: ["s.>"] });
  for (let i = 0; i < count; i++) await jetstream(nc).publish("s.x", String(i));
}

describe("startNatsServer", () => {
  it("gives each server ports and data of its own, with JetStream synced always", async () => {
    const [one, two] = await Promise.all([testServer(), testServer()]);
    onTestFinished(async () => void (await Promise.all([one.stop(), two.stop()])));
    expect(one.url).not.toBe(two.url);
    expect(one.dataDir).not.toBe(two.dataDir);
    const varz = (await (await fetch(`${one.monitorUrl}/varz`)).json()) as {
      host: string;
      jetstream: { config: { sync_always?: boolean } };
    };
    expect(varz.host).toBe("127.0.0.1");
    expect(varz.jetstream.config.sync_always).toBe(true);
    const { pid, dataDir } = one;
    await one.stop();
    await one.stop();
    expect(markProcess(pid)).toBeUndefined();
    expect(existsSync(dataDir)).toBe(false);
  });

  it("keeps data and ports over kill and restart, forgets them with fresh", async () => {
    const server = await started();
    const { url, pid } = server;
    await write(url, 50);
    await server.kill();
    expect(server.isRunning).toBe(false);
    await server.restart();
    expect(server.url).toBe(url);
    expect(server.pid).not.toBe(pid);
    expect(await countOf(url)).toBe(50);
    await server.restart();
    expect(await countOf(url)).toBe(50);
    await server.stop();
    const again = await started({ dataDir: server.dataDir });
    expect(await countOf(again.url)).toBe(50);
    await again.stop();
    const fresh = await started({ dataDir: server.dataDir, fresh: true });
    await expect(countOf(fresh.url)).rejects.toThrow("stream not found");
  });

  it("refuses a second start on one data folder and names the pid that has it", async () => {
    const server = await started();
    const second = await startNatsServer({ binary: await testBinary(), dataDir: server.dataDir }).catch(
      (e: unknown) => e,
    );
    expect(second).toBeInstanceOf(StoreInUseError);
    expect(second).toMatchObject({ pid: process.pid, exitCode: 75 });
    expect((second as Error).message).toContain(`${server.dataDir} is in use by process ${process.pid}`);
    expect((await fetch(`${server.monitorUrl}/healthz`)).ok).toBe(true);
    await server.kill();
    await expect(started({ dataDir: server.dataDir })).rejects.toThrow(StoreInUseError);
  });

  it("takes the usual ports if free, else others", async () => {
    const holder = createServer();
    const isHeld = await new Promise<boolean>((resolve) => {
      holder.once("error", () => resolve(true)); // somebody else has it: just as good
      holder.listen(4222, "127.0.0.1", () => resolve(true));
    });
    onTestFinished(() => void holder.close());
    const server = await started({ port: "usual" });
    expect(isHeld).toBe(true);
    expect(new URL(server.url).port).not.toBe("4222");
  });

  it("freezes and resumes without losing the connection's data", async () => {
    const server = await started();
    const nc = await connected(server.url);
    server.freeze();
    // The kernel stops it a moment later: one answer may still come.
    const ask = () => nc.request("$JS.API.INFO", "", { timeout: 200 });
    await ask().catch(() => undefined);
    await expect(ask()).rejects.toThrow("timeout");
    server.resume();
    expect((await nc.request("$JS.API.INFO", "", { timeout: 5_000 })).json()).toHaveProperty("memory");
    server.freeze();
    await server.stop();
    expect(server.isRunning).toBe(false);
  });

  it("tells when the server ends by itself, and can be restarted", async () => {
    const server = await started();
    const crash = new Promise<{ signal: string | null }>((resolve) => server.onCrash(resolve));
    process.kill(server.pid, "SIGKILL");
    expect((await crash).signal).toBe("SIGKILL");
    await server.restart();
    expect((await fetch(`${server.monitorUrl}/healthz`)).ok).toBe(true);
  });

  it("says why a server does not start, and leaves the folder free", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "tradewind-data-"));
    const bad = await started({ dataDir, extraConfig: "no_such_option: 1" }).catch((e: unknown) => e);
    expect(bad).toBeInstanceOf(NatsServerStartError);
    expect((bad as Error).message).toContain("no_such_option");
    await expect(started({ dataDir, binary: "/nowhere/nats-server" })).rejects.toThrow("cannot be started");
    const server = await started({ dataDir });
    const port = Number(new URL(server.url).port);
    await expect(started({ port })).rejects.toThrow("address already in use");
  });

  it("limits the store on request", async () => {
    const server = await started({ maxFileStoreBytes: 64 * 2 ** 20 });
    const jsz = (await (await fetch(`${server.monitorUrl}/jsz`)).json()) as {
      config: { max_storage: number };
    };
    expect(jsz.config.max_storage).toBe(64 * 2 ** 20);
  });

  it("records the server in the lock, so that a later owner waits for it", async () => {
    const server = await started();
    const lock = JSON.parse(readFileSync(join(server.dataDir, "tradewind.lock"), "utf8")) as {
      pid: number;
      child: { pid: number; start: string };
    };
    expect(lock).toMatchObject({ pid: process.pid, child: { pid: server.pid } });
    expect(isRunning(lock.child)).toBe(true);
  });
});
