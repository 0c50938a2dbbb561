/**
 * A process of its own that runs servers for the process that started it, and stops them when that one is gone.
 * Its standard input is a pipe of the owner: the kernel closes it however the owner dies, SIGKILL included. The
 * guardian is the parent of the servers, so it can neither miss their end nor signal a reused pid.
 *
 * Speaks JSON lines: `GuardianRequest` on standard input, `GuardianEvent` on standard output.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { createInterface } from "node:readline";
import type { GuardianEvent, GuardianRequest, StartRequest } from "./guardian-protocol.ts";
import { readLock } from "./pid-lock.ts";

/** A server that does not end on SIGTERM within this time is killed. */
const STOP_TIMEOUT_MS = 5_000;
const STDERR_CHARACTERS_MAX = 4_096;

interface Ward {
  readonly request: StartRequest;
  readonly child: ChildProcess;
}

const owner = Number(process.argv[2]);
const wards = new Map<number, Ward>();

function tell(event: GuardianEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

function start(request: StartRequest): void {
  const { id, command, args } = request;
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], cwd: "/" });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-STDERR_CHARACTERS_MAX);
  });
  child.once("error", (error) => {
    if (!wards.delete(id) && child.pid !== undefined) return;
    tell({ type: "exited", id, code: null, signal: null, stderr: error.message });
  });
  child.once("close", (code, signal) => {
    if (wards.delete(id)) tell({ type: "exited", id, code, signal, stderr });
  });
  wards.set(id, { request, child });
  if (child.pid !== undefined) tell({ type: "started", id, pid: child.pid });
}

function obey(line: string): void {
  const request = JSON.parse(line) as GuardianRequest;
  if (request.type === "start") start(request);
  else wards.get(request.id)?.child.kill(request.signal);
}

/** The owner is gone: end what it left, remove its locks and temporary files, go. */
async function windUp(): Promise<void> {
  const left = [...wards.values()];
  await Promise.all(left.map(({ child }) => stop(child)));
  for (const { request } of left) {
    if (request.lockPath !== undefined && readLock(request.lockPath)?.pid === owner) {
      rmSync(request.lockPath, { force: true });
    }
    for (const path of request.removeAfter) rmSync(path, { recursive: true, force: true });
  }
  process.exit(0);
}

function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    child.once("exit", () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill("SIGCONT"); // a frozen server cannot see SIGTERM
    child.kill("SIGTERM");
  });
}

// Nobody may be listening any more when the owner is dead.
process.stdout.on("error", () => undefined);
// Ctrl-C reaches the owner, which stops its servers in order; here it must not end the watch.
process.on("SIGINT", () => undefined).on("SIGHUP", () => undefined);
process.once("SIGTERM", () => void windUp());
createInterface({ input: process.stdin })
  .on("line", obey)
  .once("close", () => void windUp());
