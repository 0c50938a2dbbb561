import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { type GuardedExit, type GuardedProcess, startGuarded } from "../../../platform/nats-server/guard.ts";
import { root } from "../../run/process.ts";

export interface RoleOptions {
  /** Unique in its system; names the log file. */
  readonly name: string;
  /** Arguments of the `tradewind` command. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly adminPort: number;
  /** Holds the log. */
  readonly dir: string;
  /** Another checkout's root, for a process of another build. */
  readonly codeRoot?: string;
}

const READY_MS_MAX = 60_000;
const READY_POLL_MS = 20;
const STOP_MS_MAX = 30_000;
const LOG_LINES_SHOWN = 12;

/** One role as an operating system process with its log in a file. It cannot outlive the test, however that ends. */
export class RoleProcess {
  readonly name: string;
  readonly adminUrl: string;
  readonly logFile: string;
  readonly #options: RoleOptions;
  #process: GuardedProcess | undefined;
  #exit: GuardedExit | undefined;
  isFrozen = false;

  constructor(options: RoleOptions) {
    this.#options = options;
    this.name = options.name;
    this.adminUrl = `http://127.0.0.1:${options.adminPort}`;
    this.logFile = join(options.dir, `${options.name}.log`);
    closeSync(openSync(this.logFile, "a"));
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** How it last ended. */
  get exit(): GuardedExit | undefined {
    return this.#exit;
  }

  /** Starts it; ready is another matter. */
  async start(): Promise<void> {
    const { args, env, adminPort, codeRoot = root } = this.#options;
    const settings = { ...env, ADMIN_PORT: String(adminPort), NODE_NO_WARNINGS: "1" };
    const assignments = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
    const command = ["env", ...assignments, process.execPath, join(codeRoot, "cli/main.ts"), ...args];
    const child = await startGuarded({
      command: "/bin/sh",
      // `exec` keeps the pid: signals reach the role itself.
      args: ["-c", 'log="$1"; shift; exec "$@" >>"$log" 2>&1', "sh", this.logFile, ...command],
      removeAfter: [],
    });
    this.#process = child;
    this.isFrozen = false;
    void child.exited.then((exit) => {
      if (this.#process !== child) return;
      this.#process = undefined;
      this.#exit = exit;
    });
  }

  /** Waits until its probe says ready. @throws Error with the end of its log */
  async ready(): Promise<void> {
    const giveUpMs = systemClock.monotonicMs() + READY_MS_MAX;
    while (this.isRunning && systemClock.monotonicMs() < giveUpMs) {
      if (await isOk(`${this.adminUrl}/readyz`)) return;
      await sleep(systemClock, READY_POLL_MS);
    }
    const state = this.isRunning ? `not ready after ${READY_MS_MAX} ms` : "ended at its start";
    throw new Error(`${this.name} is ${state}:\n${this.logTail()}`);
  }

  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** SIGTERM, and SIGKILL when that takes too long. @returns the exit code */
  async stop(): Promise<number | null> {
    this.resume();
    await this.#end("SIGTERM");
    return this.#exit?.code ?? null;
  }

  /** Starts it again, after SIGKILL if it runs, and waits until it is ready. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
    await this.ready();
  }

  /** SIGSTOP: its sockets stay open and nothing answers. */
  freeze(): void {
    this.#process?.signal("SIGSTOP");
    this.isFrozen = true;
  }

  /** SIGCONT. */
  resume(): void {
    this.#process?.signal("SIGCONT");
    this.isFrozen = false;
  }

  log(): string {
    return readFileSync(this.logFile, "utf8");
  }

  logTail(): string {
    return this.log().trimEnd().split("\n").slice(-LOG_LINES_SHOWN).join("\n");
  }

  async #end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    child.signal(signal);
    const timer = systemClock.setTimer(() => child.signal("SIGKILL"), STOP_MS_MAX);
    await child.exited;
    timer.cancel();
    await Promise.resolve();
  }
}

async function isOk(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
