import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { root } from "../run/process.ts";

const START_MS_MAX = 20_000;

/** A role as a process of its own. */
export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** The line of its log that said that it is ready. */
  readonly ready: Readonly<Record<string, unknown>>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
}

/**
 * Starts `node <file> <args>` and waits until its log has a line with this message.
 * @throws Error with what it printed, when it ends before or takes too long
 */
export async function startChild(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  readyMessage: string,
): Promise<Child> {
  const child = spawn(process.execPath, [file, ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
    env: { PATH: process.env["PATH"] ?? "", LOG_LEVEL: "info", ADMIN_PORT: "0", ...env },
  });
  const printed: string[] = [];
  const ready = await Promise.race([
    lineWith(child, readyMessage, printed),
    once(child, "exit").then(() => undefined),
    once(AbortSignal.timeout(START_MS_MAX), "abort").then(() => undefined),
  ]);
  if (ready === undefined) {
    child.kill("SIGKILL");
    throw new Error(`${file} did not say "${readyMessage}":\n${printed.join("\n")}`);
  }
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  };
  return { pid: child.pid ?? 0, ready, kill, [Symbol.asyncDispose]: kill };
}

function lineWith(
  { stdout }: ChildProcess,
  message: string,
  printed: string[],
): Promise<Readonly<Record<string, unknown>>> {
  const { promise, resolve } = Promise.withResolvers<Readonly<Record<string, unknown>>>();
  if (stdout === null) throw new Error("the process has no output");
  // Read to its end: a full pipe would stop the process.
  createInterface({ input: stdout }).on("line", (line) => {
    printed.push(line);
    if (line.startsWith("{") && line.includes(message)) resolve(JSON.parse(line) as Record<string, unknown>);
  });
  return promise;
}
