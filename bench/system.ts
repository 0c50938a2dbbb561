import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type NatsServer, resolveNatsServer, startNatsServer } from "../platform/nats-server/index.ts";
import { freePorts } from "../platform/nats-server/ports.ts";

/** The whole system as processes of their own, on data of its own. */
export interface BenchSystem {
  readonly url: string;
  readonly natsVersion: string;
  /** Roots of the process trees that do the work. */
  readonly pids: readonly number[];
  /** Memory of all processes, shared pages divided among those that share them. */
  memoryBytes(): number;
  stop(): Promise<void>;
}

export interface BenchSystemOptions {
  readonly syncInterval: string;
  /** The payment provider inside the worker, or over HTTP in a process of its own. */
  readonly provider: "memory" | "http";
}

const root = join(import.meta.dirname, "..");
const STOP_MS_MAX = 30_000;
const START_MS_MAX = 30_000;
const START_POLL_MS = 50;

/** Starts nats-server, one worker of each group and one gateway; they end with this process. */
export async function startBenchSystem({ syncInterval, provider }: BenchSystemOptions): Promise<BenchSystem> {
  const dataDir = mkdtempSync(join(tmpdir(), "tradewind-bench-"));
  const { path, version } = await resolveNatsServer({
    env: process.env,
    progress: (line) => console.error(line),
  });
  const nats = await startNatsServer({ binary: path, dataDir, syncInterval, temporary: true });
  const [port = 0, pspPort = 0] = await freePorts(2, Math.random);
  const env = { NATS_URL: nats.url, ADMIN_PORT: "0", LOG_LEVEL: "warn" };
  const pspUrl = provider === "memory" ? "memory:" : `http://127.0.0.1:${pspPort}`;
  const children = [
    ...(provider === "http" ? [role(["cli/main.ts", "psp"], { ...env, PSP_PORT: String(pspPort) })] : []),
    role(["actors/main.ts", "--group", "core"], { ...env, PSP_URL: pspUrl, WORKER_ID: "bench" }),
    role(["actors/main.ts", "--group", "analytics"], { ...env, WORKER_ID: "bench" }),
    role(["gateway/main.ts"], { ...env, PORT: String(port) }),
  ];
  const url = `http://127.0.0.1:${port}`;
  await listens(url);
  const pids = [...children.flatMap(({ pid }) => (pid === undefined ? [] : [pid])), nats.pid];
  return {
    url,
    natsVersion: version,
    pids,
    memoryBytes: () => pids.reduce((sum, pid) => sum + pssOf(pid), 0),
    stop: () => stop(children, nats, dataDir),
  };
}

/** @throws Error after START_MS_MAX */
async function listens(url: string): Promise<void> {
  for (const giveUpMs = Date.now() + START_MS_MAX; ; await setTimeout(START_POLL_MS)) {
    try {
      await (await fetch(url)).arrayBuffer();
      return;
    } catch (cause) {
      if (Date.now() > giveUpMs) throw new Error(`no gateway at ${url} after ${START_MS_MAX} ms`, { cause });
    }
  }
}

function role(args: readonly string[], env: Readonly<Record<string, string>>): ChildProcess {
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), "node-compile-cache"), ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const name = args.join(" ");
  child.once("exit", (code, signal) => {
    if (code !== 0) console.error(`${name} ended with ${code ?? signal}`);
  });
  process.once("exit", () => child.kill("SIGKILL"));
  return child;
}

async function stop(children: readonly ChildProcess[], nats: NatsServer, dataDir: string): Promise<void> {
  const ended = children.map(async (child) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill("SIGTERM");
    const abort = new AbortController();
    void setTimeout(STOP_MS_MAX, undefined, { signal: abort.signal }).then(
      () => child.kill("SIGKILL"),
      () => undefined,
    );
    await exit;
    abort.abort();
  });
  await Promise.all(ended);
  await nats.stop();
  rmSync(dataDir, { recursive: true, force: true });
}

function pssOf(pid: number): number {
  try {
    const [, kibibytes = "0"] =
      /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8")) ?? [];
    return Number(kibibytes) * 1_024;
  } catch {
    return 0; // not Linux, or it has ended
  }
}
