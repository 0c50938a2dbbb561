import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { cpuOfTrees, treePids } from "../cli/process-cpu.ts";
import { freePorts } from "../platform/nats-server/ports.ts";
import { pssOf } from "./machine.ts";
import { type Servers, type ServersOptions, startServers } from "./servers.ts";

/** What a process of the system is there for; several may have one role. */
export type Role = "worker" | "projection" | "gateway" | "psp" | "nats" | "runtime" | "peer" | "postgres";

/** Figures by role: CPU seconds, bytes. */
export type ByRole = ReadonlyMap<Role, number>;

export interface SystemOptions extends ServersOptions {
  /** The payment provider inside the one worker, or over HTTP in a process of its own. */
  readonly provider: "memory" | "http";
  /** Processes of the group `core`; several need the provider over HTTP. */
  readonly workers: number;
  /** Logs of each group, instead of the usual one. */
  readonly logs?: number;
  /** Records that a worker keeps per log, instead of the usual limit. */
  readonly recordsCachedMax?: number;
}

/** A system whose processes can be measured and killed. */
export interface BenchSystem {
  /** Of the gateway; empty for bare servers. */
  readonly url: string;
  readonly servers: Servers;
  /** CPU seconds used so far, all that has ended included. */
  cpu(): ByRole;
  /** Memory in bytes, shared pages divided among those that share them. */
  memory(): ByRole;
  /** Starts one more process: `node <args>`. */
  start(role: Role, args: readonly string[], env: Env): void;
  /** kill -9 of all processes of a role. They are not started again. */
  kill(role: Role): Promise<void>;
  /** Starts what was killed with `kill`, as it was started before. */
  startAgain(role: Role): void;
  /** Profiles the processes of a role until `stop`, which writes one file for each. @returns the files */
  profile(role: Role, folder: string, name: string): { stop(): Promise<string[]> };
  /** Rejects when a process ends that should not. */
  readonly failure: Promise<never>;
  stop(): Promise<void>;
}

type Env = Readonly<Record<string, string>>;

interface Member {
  readonly role: Role;
  readonly args: readonly string[];
  readonly env: Env;
  readonly process: ChildProcess;
}

const root = join(import.meta.dirname, "..");
const STOP_MS_MAX = 20_000;
const START_MS_MAX = 30_000;
const START_POLL_MS = 20;
const PROFILE_MS_MAX = 30_000;

/** Starts servers, workers of each group and one gateway as processes of their own; they end with this one. */
export async function startSystem(options: SystemOptions): Promise<BenchSystem> {
  const { provider, workers, replicas, logs, recordsCachedMax } = options;
  const [port = 0, pspPort = 0] = await freePorts(2, Math.random);
  const system = await startBare(options, `http://127.0.0.1:${port}`);
  try {
    const shared = { ADMIN_PORT: "0", LOG_LEVEL: "warn", STREAM_REPLICAS: String(replicas) };
    const pspUrl = provider === "memory" ? "memory:" : `http://127.0.0.1:${pspPort}`;
    if (provider === "http")
      system.start("psp", ["cli/main.ts", "psp"], { ...shared, PSP_PORT: String(pspPort) });
    const made = logs === undefined ? {} : { LOGS: String(logs) };
    const cache = recordsCachedMax === undefined ? {} : { RECORDS_CACHED_MAX: String(recordsCachedMax) };
    for (let at = 1; at <= workers; at++) {
      const env = { ...shared, ...made, ...cache, PSP_URL: pspUrl, WORKER_ID: `bench-${at}` };
      system.start("worker", ["actors/main.ts", "--group", "core"], env);
    }
    const projection = { ...shared, ...made, WORKER_ID: "bench" };
    system.start("projection", ["actors/main.ts", "--group", "analytics"], projection);
    system.start("gateway", ["gateway/main.ts"], { ...shared, PORT: String(port) });
    await Promise.race([listens(system.url), system.failure]);
    return system;
  } catch (error) {
    await system.stop();
    throw error;
  }
}

/** Starts the servers alone. */
export async function startBare(options: ServersOptions, url = ""): Promise<Processes> {
  return startProcesses(await startServers(options), url);
}

/** A system of servers that run already, without processes yet. */
export function startProcesses(servers: Servers, url: string): Processes {
  return new Processes(url, servers);
}

class Processes implements BenchSystem {
  readonly url: string;
  readonly servers: Servers;
  /** Rejects when a process ends that should not. */
  readonly failure: Promise<never>;
  readonly #fail: (error: Error) => void;
  #members: Member[] = [];
  readonly #killed: Member[] = [];
  readonly #adopted: [Role, number][] = [];
  readonly #ended = new Map<Role, number>();

  constructor(url: string, servers: Servers) {
    this.url = url;
    this.servers = servers;
    const { promise, reject } = Promise.withResolvers<never>();
    this.failure = promise;
    this.#fail = reject;
    promise.catch(() => undefined); // nobody may be listening
  }

  cpu(): ByRole {
    const pids = [...this.#pids(), ...this.#adopted];
    const sums = new Map<Role, number>(this.#ended);
    const trees = cpuOfTrees(pids.map(([, pid]) => pid));
    for (const [role, pid] of pids) {
      const seconds = trees.find((tree) => tree.root === pid)?.seconds ?? 0;
      sums.set(role, (sums.get(role) ?? 0) + seconds);
    }
    return sums;
  }

  memory(): ByRole {
    const sums = new Map<Role, number>();
    const adopted = this.#adopted.flatMap(([role, root]) =>
      treePids(root).map((pid): [Role, number] => [role, pid]),
    );
    for (const [role, pid] of [...this.#pids(), ...adopted])
      sums.set(role, (sums.get(role) ?? 0) + pssOf(pid));
    return sums;
  }

  start(role: Role, args: readonly string[], env: Env): void {
    const child = spawn(process.execPath, ["--import", join(root, "bench/child.ts"), ...args], {
      cwd: root,
      env: {
        ...process.env,
        NODE_COMPILE_CACHE: join(tmpdir(), "node-compile-cache"),
        NATS_URL: this.servers.url,
        ...env,
      },
      stdio: ["pipe", process.stderr, process.stderr],
    });
    const member: Member = { role, args, env, process: child };
    this.#members.push(member);
    child.stdin?.on("error", () => undefined); // it has ended, as the next line tells
    child.once("exit", (code, signal) => {
      if (this.#members.includes(member))
        this.#fail(new Error(`${args.join(" ")} ended with ${code ?? signal}`));
    });
  }

  /** Measures a process and its descendants, which somebody else starts and ends. */
  adopt(role: Role, pid: number): void {
    this.#adopted.push([role, pid]);
  }

  async kill(role: Role): Promise<void> {
    const members = this.#members.filter((member) => member.role === role);
    this.#ended.set(role, this.cpu().get(role) ?? 0);
    this.#members = this.#members.filter((member) => member.role !== role);
    this.#killed.push(...members);
    await Promise.all(members.map(({ process: child }) => end(child, "SIGKILL")));
  }

  startAgain(role: Role): void {
    const members = this.#killed.filter((member) => member.role === role);
    for (const member of members) {
      this.#killed.splice(this.#killed.indexOf(member), 1);
      this.start(role, member.args, member.env);
    }
  }

  profile(role: Role, folder: string, name: string): { stop(): Promise<string[]> } {
    const members = this.#members.filter((member) => member.role === role);
    for (const { process: child } of members) child.stdin?.write("profile start\n");
    return {
      stop: async () => {
        const files = members.map(({ process: child }, at) => {
          const file = join(folder, `${name}${at === 0 ? "" : `-${at + 1}`}.cpuprofile`);
          child.stdin?.write(`profile stop ${file}\n`);
          return file;
        });
        const giveUpMs = Date.now() + PROFILE_MS_MAX;
        while (!files.every(existsSync) && Date.now() < giveUpMs) await setTimeout(START_POLL_MS);
        return files.filter(existsSync);
      },
    };
  }

  async stop(): Promise<void> {
    const members = this.#members.splice(0);
    await Promise.all(members.map(({ process: child }) => end(child, "SIGTERM")));
    await this.servers.stop();
  }

  #pids(): [Role, number][] {
    return [
      ...this.#members.map(({ role, process: { pid = 0 } }): [Role, number] => [role, pid]),
      ...this.servers.members.map(({ pid }): [Role, number] => ["nats", pid]),
    ];
  }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill(signal);
  const abort = new AbortController();
  void setTimeout(STOP_MS_MAX, undefined, { signal: abort.signal }).then(
    () => child.kill("SIGKILL"),
    () => undefined,
  );
  await exit;
  abort.abort();
}

/** @throws Error after START_MS_MAX */
export async function listens(url: string): Promise<void> {
  for (const giveUpMs = Date.now() + START_MS_MAX; ; await setTimeout(START_POLL_MS)) {
    try {
      await (await fetch(url, { signal: AbortSignal.timeout(START_MS_MAX) })).arrayBuffer();
      return;
    } catch (cause) {
      if (Date.now() > giveUpMs) throw new Error(`no gateway at ${url} after ${START_MS_MAX} ms`, { cause });
    }
  }
}
