import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { GuardianEvent, GuardianRequest, StartRequest } from "./guardian-protocol.ts";

/** How a guarded process ended. */
export interface GuardedExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

/** A process that cannot outlive this one. It does not keep this one alive. */
export interface GuardedProcess {
  readonly pid: number;
  readonly guardianPid: number;
  /** Settles once, when it has ended. */
  readonly exited: Promise<GuardedExit>;
  /** Does nothing after the end. */
  signal(name: NodeJS.Signals): void;
}

export type GuardedStart = Omit<StartRequest, "type" | "id">;

interface Waiting {
  pid: number;
  started: (process: GuardedProcess) => void;
  failed: (error: Error) => void;
  exited: (exit: GuardedExit) => void;
  exit: Promise<GuardedExit>;
}

/** One guardian serves all servers of this process, three of a cluster too; it goes with the last of them. */
class Guardian {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting = new Map<number, Waiting>();
  readonly #input: Socket;
  readonly #output: Socket;
  #lastId = 0;
  isGone = false;

  constructor() {
    const script = fileURLToPath(new URL("guardian.ts", import.meta.url));
    this.#child = spawn(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", script, String(process.pid)],
      {
        detached: true, // a session of its own: signals to the owner's process group do not reach it
        stdio: ["pipe", "pipe", "ignore"],
        cwd: "/",
      },
    );
    this.#child.unref();
    this.#input = this.#child.stdin as unknown as Socket;
    this.#output = this.#child.stdout as unknown as Socket;
    this.#input.unref();
    this.#output.unref();
    this.#input.on("error", () => undefined); // its end is noticed by the exit event
    createInterface({ input: this.#output }).on("line", (line) =>
      this.#hear(JSON.parse(line) as GuardianEvent),
    );
    this.#child.once("error", (error) => this.#gone(error.message));
    this.#child.once("exit", (code, signal) =>
      this.#gone(`the guardian ended (${signal ?? code ?? "unknown"})`),
    );
  }

  start(start: GuardedStart): Promise<GuardedProcess> {
    const id = ++this.#lastId;
    const started = Promise.withResolvers<GuardedProcess>();
    const exited = Promise.withResolvers<GuardedExit>();
    this.#waiting.set(id, {
      pid: 0,
      started: started.resolve,
      failed: started.reject,
      exited: exited.resolve,
      exit: exited.promise,
    });
    this.#output.ref(); // somebody waits for the answer
    this.#send({ type: "start", id, ...start });
    return started.promise;
  }

  #send(request: GuardianRequest): void {
    this.#input.write(`${JSON.stringify(request)}\n`);
  }

  #hear(event: GuardianEvent): void {
    const waiting = this.#waiting.get(event.id);
    if (waiting === undefined) return;
    this.#handle(event, waiting);
    if ([...this.#waiting.values()].every(({ pid }) => pid !== 0)) this.#output.unref();
  }

  #handle(event: GuardianEvent, waiting: Waiting): void {
    if (event.type === "started") {
      waiting.pid = event.pid;
      const signal = (name: NodeJS.Signals) => {
        if (this.#waiting.has(event.id)) this.#send({ type: "signal", id: event.id, signal: name });
      };
      waiting.started({ pid: event.pid, guardianPid: this.#child.pid ?? 0, exited: waiting.exit, signal });
      return;
    }
    this.#waiting.delete(event.id);
    if (waiting.pid === 0) waiting.failed(new Error(event.stderr));
    else waiting.exited({ code: event.code, signal: event.signal, stderr: event.stderr });
    if (this.#waiting.size === 0) {
      this.isGone = true;
      this.#input.end();
    }
  }

  /** Without a guardian a server could outlive us: end it rather than leave it unguarded. */
  #gone(why: string): void {
    this.isGone = true;
    for (const { pid, failed, exited } of this.#waiting.values()) {
      if (pid === 0) failed(new Error(why));
      else endUnguarded(pid);
      exited({ code: null, signal: "SIGTERM", stderr: why });
    }
    this.#waiting.clear();
  }
}

function endUnguarded(pid: number): void {
  try {
    process.kill(pid, "SIGCONT");
    process.kill(pid, "SIGTERM");
  } catch {
    // it has already ended
  }
}

let guardian: Guardian | undefined;

/**
 * Starts a process that ends when this one does, however that happens.
 * @throws Error when the command cannot be run.
 */
export function startGuarded(start: GuardedStart): Promise<GuardedProcess> {
  if (guardian === undefined || guardian.isGone) guardian = new Guardian();
  return guardian.start(start);
}
