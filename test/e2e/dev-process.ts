import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { systemRandom } from "../../platform/random.ts";
import { freePorts } from "../../platform/nats-server/ports.ts";
import { root } from "../run/process.ts";

/** `npm start` as a process with a port and a data folder of its own. */
export interface DevProcess extends AsyncDisposable {
  readonly url: string;
  readonly natsUrl: string;
  readonly pid: number;
  /** Everything that it has printed. */
  readonly output: () => string;
  /** Milliseconds from the start of the process to the end of its greeting. */
  readonly readyMs: number;
  signal(name: NodeJS.Signals): void;
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

/** A data folder and a port that several starts share; the folder goes at the end. */
export interface DevPlace extends Disposable {
  readonly dataDir: string;
  readonly port: number;
  readonly env: Readonly<Record<string, string>>;
}

const READY_MS_MAX = 60_000;

export async function devPlace(): Promise<DevPlace> {
  const folder = mkdtempSync(join(tmpdir(), "tradewind-dev-"));
  const dataDir = join(folder, "data");
  const [port = 0] = await freePorts(1, () => systemRandom.float());
  const bin = join(root, "node_modules/.bin");
  const env = {
    ...(process.env as Record<string, string>),
    PATH: `${bin}${delimiter}${process.env["PATH"] ?? ""}`,
    PORT: String(port),
    TRADEWIND_DATA_DIR: dataDir,
  };
  return { dataDir, port, env, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Starts it and waits for its greeting. @throws Error with what it printed, when it ends before */
export async function startDev(
  place: DevPlace,
  command: readonly string[] = ["node", "cli/main.ts", "dev"],
): Promise<DevProcess> {
  const startedMs = performance.now();
  const [file = "", ...args] = command;
  const child = spawn(file, args, {
    cwd: root,
    env: place.env,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  const ended = endOf(child);
  await greeted(child, () => output);
  const readyMs = performance.now() - startedMs;
  const signal = (name: NodeJS.Signals) => {
    // The group of it, as a terminal does.
    if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid ?? 0), name);
  };
  return {
    url: `http://localhost:${place.port}`,
    natsUrl: /NATS +(\S+)/.exec(output)?.[1] ?? "",
    pid: child.pid ?? 0,
    output: () => output,
    readyMs,
    signal,
    ended,
    [Symbol.asyncDispose]: async () => {
      signal("SIGTERM");
      await ended;
    },
  };
}

async function endOf(child: ChildProcess): Promise<number | NodeJS.Signals> {
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return code ?? signal ?? -1;
}

function greeted(child: ChildProcess, output: () => string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`npm start ${why}:\n${output()}`));
    const timer = setTimeout(() => fail(`did not get ready within ${READY_MS_MAX} ms`), READY_MS_MAX);
    child.once("close", () => fail("ended"));
    child.once("error", reject);
    child.stdout?.on("data", () => {
      if (!output().includes("Ctrl-C stops everything")) return;
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Processes whose command line or working files name this folder. Linux only; empty elsewhere. */
export function processesOf(dataDir: string): string[] {
  if (!existsSync("/proc/self/cmdline")) return [];
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        return line.includes(dataDir) ? [`${pid} ${line}`] : [];
      } catch {
        return []; // it ended meanwhile
      }
    });
}
