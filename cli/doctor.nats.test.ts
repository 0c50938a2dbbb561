import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { startWorkerRole } from "../actors/main.ts";
import { startGatewayRole } from "../gateway/main.ts";
import { sleep, systemClock } from "../platform/clock.ts";
import { createHealth } from "../platform/health.ts";
import { silentLogger } from "../platform/log.ts";
import type { NatsServer } from "../platform/nats-server/index.ts";
import { freePorts } from "../platform/nats-server/ports.ts";
import { testBinary, testServer, type TestServerOptions } from "../platform/nats-server/testing.ts";
import { connectNats, type NatsConnection } from "../platform/nats.ts";
import { systemRandom } from "../platform/random.ts";
import { createShutdown } from "../platform/shutdown.ts";
import { LoadSchema } from "../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { doctor, doctorLines, examine, type DoctorOptions, type Machine } from "./doctor.ts";
import { diskSpace } from "./doctor/machine.ts";
import { checkVersion } from "./doctor/server.ts";
import { ExitError } from "./exit-error.ts";

const GIB = 2 ** 30;
const NOBODY = "http://127.0.0.1:1";
const READY_MS_MAX = 20_000;
const machine: Machine = { clock: systemClock, nodeVersion: "24.21.0", diskSpace };

function options(server: Pick<NatsServer, "url" | "monitorUrl"> | undefined, url = NOBODY): DoctorOptions {
  const natsUrl = server?.url ?? "nats://127.0.0.1:1";
  return { url, natsUrl, monitorUrl: server?.monitorUrl, dataDir: "/nowhere", env: {} };
}

async function bad(given: DoctorOptions, replaced: Partial<Machine> = {}) {
  const findings = await examine(given, { ...machine, ...replaced });
  return findings.filter(({ level }) => level !== "ok");
}

async function start(serverOptions: TestServerOptions = {}): Promise<NatsServer> {
  const server = await testServer(serverOptions);
  onTestFinished(() => server.stop());
  return server;
}

async function connected(url: string): Promise<NatsConnection> {
  const nc = await connectNats({ servers: url, name: "test", log: silentLogger });
  onTestFinished(() => nc.close());
  return nc;
}

describe("doctor, where nothing runs", () => {
  it("says that NATS and the gateway do not answer, and what starts them", async () => {
    expect(await bad(options(undefined))).toEqual([
      expect.objectContaining({ check: "nats", level: "problem", fix: expect.stringContaining("npm start") }),
      expect.objectContaining({
        check: "gateway",
        level: "problem",
        fix: expect.stringContaining("npm start"),
      }),
    ]);
  });

  it("names an old Node, a full disk and a port that another program has", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void other.close());
    await new Promise((resolve) => other.once("listening", resolve));
    const { port } = other.address() as { port: number };
    const found = await bad(
      { ...options(undefined), port },
      {
        nodeVersion: "20.19.0",
        diskSpace: () => ({ freeBytes: GIB, totalBytes: 100 * GIB }),
      },
    );
    expect(found).toMatchObject([
      {
        check: "node",
        level: "problem",
        text: expect.stringContaining("20.19.0"),
        fix: expect.stringContaining("npm ci"),
      },
      ...found.filter(({ check }) => check === "nats-server"),
      { check: "port", level: "problem", fix: expect.stringContaining(`PORT=${port + 1}`) },
      { check: "disk", level: "problem", text: expect.stringContaining("1.0 GiB of 100 GiB") },
      { check: "nats" },
      { check: "gateway" },
    ]);
  });

  it("ends with exit code 1, and prints JSON", async () => {
    const lines: string[] = [];
    const terminal = {
      isTty: false,
      note: () => {},
      status: () => {},
      out: (line: string) => lines.push(line),
    };
    const failed = doctor(terminal, options(undefined), true);
    await expect(failed).rejects.toThrow(ExitError);
    await expect(failed).rejects.toMatchObject({ exitCode: 1 });
    expect(JSON.parse(lines.join("\n"))).toMatchObject({ problems: 2, warnings: 0, findings: { length: 3 } });
  });

  it("prints the command below what is not well", () => {
    const lines = doctorLines([
      { check: "sync", level: "problem", text: "bad", fix: "do this" },
      { check: "dead letters", level: "ok", text: "none", fix: "" },
    ]);
    expect(lines).toEqual([
      "problem  sync          bad",
      "                       → do this",
      "ok       dead letters  none",
    ]);
  });
});

describe("doctor, of a server", () => {
  it("sees that not every write is synced, and that no worker has run", async () => {
    const server = await start({ syncInterval: "2m" });
    expect(await bad(options(server))).toMatchObject([
      { check: "sync", level: "problem", fix: expect.stringContaining("sync_interval: always") },
      { check: "streams", level: "problem", text: expect.stringContaining("no worker has run") },
      { check: "gateway" },
    ]);
    const elsewhere = await bad({ ...options(server), monitorUrl: NOBODY });
    expect(elsewhere[0]).toMatchObject({
      check: "sync",
      level: "warning",
      fix: expect.stringContaining("--monitor"),
    });
    const other = await start();
    const mixed = await bad({ ...options(server), monitorUrl: other.monitorUrl });
    expect(mixed[0]).toMatchObject({
      check: "sync",
      level: "warning",
      text: expect.stringContaining("another"),
    });
  });

  it("sees a server without JetStream, and one whose API is too old", async () => {
    const [port = 0] = await freePorts(1, () => systemRandom.float());
    const child = spawn(await testBinary(), ["-a", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
    onTestFinished(() => void child.kill());
    const url = `nats://127.0.0.1:${port}`;
    const nc = await connected(url);
    const bare = { url, monitorUrl: NOBODY };
    expect(await bad(options(bare))).toMatchObject([
      { check: "jetstream", level: "problem", fix: expect.stringContaining("store_dir") },
      { check: "sync", level: "warning" },
      { check: "gateway" },
    ]);
    // What a server of 2.10 answers.
    const info = {
      type: "io.nats.jetstream.api.v1.account_info_response",
      api: { level: 0 },
      limits: {},
      storage: 0,
    };
    nc.subscribe("$JS.API.INFO", { callback: (_error, msg) => void msg.respond(JSON.stringify(info)) });
    await nc.flush();
    expect((await bad(options(bare)))[0]).toMatchObject({
      check: "jetstream",
      level: "problem",
      text: "JetStream API level is 0, needed is 4",
      fix: expect.stringContaining("upgrade nats-server"),
    });
    expect(checkVersion("2.10.27")).toMatchObject({
      level: "problem",
      fix: expect.stringContaining("upgrade"),
    });
    expect(checkVersion("2.14.1").level).toBe("warning");
  });

  it("sees an account that is nearly full", async () => {
    const account = "A { users: [{ user: u, password: pw }], jetstream: { max_file: 4MB, max_mem: 0 } }";
    const server = await start({ extraConfig: `accounts { ${account} }` });
    const as = { url: server.url.replace("://", "://u:pw@"), monitorUrl: server.monitorUrl };
    const full = await connected(as.url);
    const manager = await jetstreamManager(full);
    await manager.streams.add({ name: "OTHER", subjects: ["other"] });
    for (let at = 0; at < 4; at++) await manager.jetstream().publish("other", new Uint8Array(900_000));
    expect((await bad(options(as)))[0]).toMatchObject({
      check: "storage",
      level: "problem",
      text: expect.stringMatching(/^the account holds 3\.\d MiB of 4\.0 MiB \(8\d %\)/),
      fix: expect.stringContaining("max_storage"),
    });
  });
});

describe("doctor, of a system", () => {
  let server: NatsServer;
  let gatewayUrl: string;
  const stops: (() => Promise<unknown>)[] = [];

  async function startWorkers(id: string): Promise<() => Promise<unknown>> {
    const shutdown = createShutdown({ log: silentLogger, deadlineMs: 10_000 });
    const parts = { log: silentLogger, health: createHealth(), shutdown };
    const env = { NATS_URL: server.url, PSP_URL: "memory:", WORKER_ID: id, LOGS: "4" };
    const worker = await startWorkerRole(parts, env, ["core", "analytics"]);
    const giveUpMs = systemClock.monotonicMs() + READY_MS_MAX;
    while (!worker.ownsAll() && systemClock.monotonicMs() < giveUpMs) await sleep(systemClock, 20);
    return () => shutdown.stop("test");
  }

  beforeAll(async () => {
    server = await testServer();
    stops.push(await startWorkers("w-one"));
    const shutdown = createShutdown({ log: silentLogger, deadlineMs: 10_000 });
    const parts = { log: silentLogger, health: createHealth(), shutdown };
    ({ url: gatewayUrl } = await startGatewayRole(parts, { NATS_URL: server.url, PORT: "0" }));
    stops.push(() => shutdown.stop("test"));
    await sleep(systemClock, 500); // it has heard from every owner
  });

  afterAll(async () => {
    for (const stop of stops) await stop();
    await server?.stop();
  });

  it("finds nothing where all is well", async () => {
    const findings = await examine(options(server, gatewayUrl), machine);
    expect(findings.filter(({ level }) => level !== "ok")).toEqual([]);
    expect(new Set(findings.map(({ check }) => check))).toEqual(
      new Set([
        "node",
        "nats version",
        "jetstream",
        "sync",
        "disk",
        "streams",
        "clock",
        "workers",
        "logs",
        "backlog",
        "dead letters",
        "gateway",
      ]),
    );
  });

  it("sees that the clocks differ, and the disk of the server", async () => {
    const clock = { ...systemClock, nowMs: () => systemClock.nowMs() - 60_000 };
    const found = await bad(options(server, gatewayUrl), {
      clock,
      diskSpace: () => ({ freeBytes: GIB, totalBytes: 10 * GIB }),
    });
    expect(found).toMatchObject([
      { check: "disk", level: "warning" },
      {
        check: "clock",
        level: "problem",
        text: expect.stringMatching(/(60\d{3}|59\d{3}) ms ahead/),
        fix: expect.stringContaining("ntp"),
      },
    ]);
  });

  it("counts the dead letters", async () => {
    const nc = await connected(server.url);
    const manager = await jetstreamManager(nc);
    await manager.jetstream().publish("dead.order.demo.o1.x1", "?");
    expect(await bad(options(server, gatewayUrl))).toMatchObject([
      {
        check: "dead letters",
        level: "warning",
        text: expect.stringContaining("1 message"),
        fix: expect.stringContaining("dead-letters"),
      },
    ]);
    await manager.streams.purge("DEAD");
  });

  it("hears that a log is behind", async () => {
    const nc = await connected(server.url);
    const word = create(LoadSchema, {
      group: "core",
      log: 2,
      owner: "w",
      epoch: 999n,
      queued: 77,
      oldestAgeMs: 4_321n,
    });
    const timer = setInterval(() => nc.publish("load.core.2", toBinary(LoadSchema, word)), 50);
    onTestFinished(() => clearInterval(timer));
    expect(await bad(options(server, NOBODY))).toMatchObject([
      {
        check: "backlog",
        level: "problem",
        text: "log core.2 is 4321 ms behind (77 wait): commands are refused",
      },
      { check: "gateway" },
    ]);
  });

  it("sees a stream that was changed, and one that is missing", async () => {
    const manager = await jetstreamManager(await connected(server.url));
    await manager.streams.update("EVENTS", { max_age: 3_600_000_000_000 });
    const changed = await bad(options(server, gatewayUrl));
    expect(changed.filter(({ check }) => check === "streams")).toMatchObject([
      {
        check: "streams",
        level: "problem",
        text: expect.stringContaining("EVENTS: messages have a maximum age"),
        fix: "nats stream edit EVENTS",
      },
    ]);
    await manager.streams.update("EVENTS", { max_age: 0 });
    await manager.streams.delete("DEAD");
    const missing = await bad(options(server, gatewayUrl));
    expect(missing[0]).toMatchObject({
      text: expect.stringContaining("stream DEAD is missing"),
      fix: expect.stringContaining("nats stream restore"),
    });
  });

  it("sees that nobody works, and a log that no worker can take over", async () => {
    await stops.shift()?.();
    const manager = await jetstreamManager(await connected(server.url));
    const idle = await bad(options(server));
    expect(idle.filter(({ check }) => check === "workers")).toMatchObject([
      {
        level: "problem",
        text: expect.stringContaining("group core"),
        fix: expect.stringContaining("actors/main.ts"),
      },
      { level: "problem", text: expect.stringContaining("group analytics") },
    ]);
    expect(idle.filter(({ check }) => check === "logs")).toHaveLength(8);
    expect(idle.find(({ check }) => check === "logs")?.text).toContain("has no owner: it was handed over");
    const { config } = await manager.streams.info("INBOX");
    await manager.streams.delete("INBOX");
    await manager.streams.add(config);
    const halted = (await bad(options(server))).filter(({ text }) => text.includes("stands still"));
    expect(halted).toHaveLength(4);
    expect(halted[0]).toMatchObject({
      text: expect.stringContaining("log core.0 stands still: stream INBOX was created again"),
      fix: expect.stringContaining("docs/operations.md"),
    });
    await manager.streams.delete("KV_leases");
    const leaseless = await bad(options(server));
    expect(leaseless.find(({ text }) => text.includes("KV_leases"))?.fix).toContain("restart one worker");
  });
});
