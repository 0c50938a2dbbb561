import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Clock, sleep, systemClock } from "../clock.ts";
import { type Logger, silentLogger } from "../log.ts";
import { type ClusterOptions, renderServerConfig } from "./config-file.ts";
import { type GuardedExit, type GuardedProcess, startGuarded } from "./guard.ts";
import { markProcess, type PidLock } from "./pid-lock.ts";
import { clearPorts, isPortFree, readPorts, type ServerPorts } from "./ports.ts";
import { lockStore, storeLockPath } from "./store-lock.ts";

/** A port of its own, or what a NATS user expects (4222, monitor 8222) if that is free, else any. */
export type PortChoice = number | "any" | "usual";

export interface StartOptions {
  /** A nats-server of at least 2.14, as `resolveNatsServer` returns it. */
  readonly binary: string;
  /** Kept between runs; one server at a time. */
  readonly dataDir: string;
  /** Default `any`. */
  readonly port?: PortChoice;
  readonly monitorPort?: PortChoice;
  /** Forgets all streams of the folder first. */
  readonly fresh?: boolean;
  /** Default `always`: acked means on disk. A Go duration loses that much on a power cut. */
  readonly syncInterval?: string;
  /** Default: the server takes three quarters of the free disk. */
  readonly maxFileStoreBytes?: number;
  readonly serverName?: string;
  readonly cluster?: ClusterOptions;
  /** More lines of nats-server configuration, for users and permissions. */
  readonly extraConfig?: string;
  /** Removes the data folder on stop, and if this process dies. */
  readonly temporary?: boolean;
  readonly log?: Logger;
  readonly clock?: Clock;
}

/** A server that ends with this process. The data folder stays locked until `stop`. */
export interface NatsServer {
  readonly url: string;
  readonly monitorUrl: string;
  readonly dataDir: string;
  /** Of the running server, or of the last one that ran. */
  readonly pid: number;
  readonly isRunning: boolean;
  /** SIGTERM, after 10 s SIGKILL; then frees the folder. Safe to call twice. */
  stop(): Promise<void>;
  /** SIGKILL, as a crash; resolves when the process is gone. */
  kill(): Promise<void>;
  /** Starts it again on the same data and the same ports, stopping it in order first when it runs. */
  restart(): Promise<void>;
  /** SIGSTOP: sockets stay open and nothing answers. */
  freeze(): void;
  /** SIGCONT. */
  resume(): void;
  /** Called when the server ends though nobody asked it to; returns how to stop listening. */
  onCrash(listener: (exit: GuardedExit) => void): () => void;
}

/** The server did not start. The message holds what it printed. */
export class NatsServerStartError extends Error {
  override readonly name = "NatsServerStartError";
  /** EX_UNAVAILABLE of sysexits. */
  readonly exitCode = 69;
}

/** Recovery of a large store takes its time; nothing heals after this. */
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 10;
const STOP_TIMEOUT_MS = 10_000;
/** A port of a killed server may be taken for a moment by an outgoing connection. */
const PORT_RETRIES_MAX = 20;
const PORT_RETRY_WAIT_MS = 250;
const USUAL_PORT = 4222;
const USUAL_MONITOR_PORT = 8222;
const LOG_LINES_SHOWN = 5;

/**
 * Starts nats-server with JetStream on loopback and waits until it answers.
 * @throws StoreInUseError when another process has the data folder.
 * @throws NatsServerStartError when the server cannot be started.
 */
export async function startNatsServer(options: StartOptions): Promise<NatsServer> {
  const { log = silentLogger, clock = systemClock } = options;
  const dataDir = resolve(options.dataDir);
  const lock = await lockStore(dataDir, clock, log);
  try {
    if (options.fresh === true) rmSync(join(dataDir, "jetstream"), { recursive: true, force: true });
    const server = new EmbeddedServer({ ...options, dataDir, log, clock }, lock);
    await server.start(
      await choosePort(options.port, USUAL_PORT),
      await choosePort(options.monitorPort, USUAL_MONITOR_PORT),
    );
    return server;
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function choosePort(choice: PortChoice = "any", usual: number): Promise<number> {
  if (typeof choice === "number") return choice;
  return choice === "usual" && (await isPortFree(usual)) ? usual : -1;
}

type ServerOptions = StartOptions & { readonly log: Logger; readonly clock: Clock };

class EmbeddedServer implements NatsServer {
  readonly #options: ServerOptions;
  readonly #lock: PidLock;
  readonly #crashListeners = new Set<(exit: GuardedExit) => void>();
  readonly #runDir: string;
  #process: GuardedProcess | undefined;
  #isEnding = false;
  #isStopped = false;
  #pid = 0;
  #ports: ServerPorts = { url: "", monitorUrl: "" };

  constructor(options: ServerOptions, lock: PidLock) {
    this.#options = options;
    this.#lock = lock;
    this.#runDir = join(options.dataDir, "run");
  }

  get url(): string {
    return this.#ports.url;
  }

  get monitorUrl(): string {
    return this.#ports.monitorUrl;
  }

  get dataDir(): string {
    return this.#options.dataDir;
  }

  get pid(): number {
    return this.#pid;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  async start(port: number, monitorPort: number): Promise<void> {
    const { log, clock } = this.#options;
    const startedMs = clock.monotonicMs();
    const child = await this.#spawn(port, monitorPort);
    const ended = child.exited.then((exit) => exit);
    this.#watch(child);
    this.#ports = await this.#ready(child, ended);
    const readyMs = Math.round(clock.monotonicMs() - startedMs);
    log.info(
      { url: this.url, monitorUrl: this.monitorUrl, pid: child.pid, dataDir: this.dataDir, readyMs },
      "nats ready",
    );
  }

  async stop(): Promise<void> {
    await this.#end("SIGTERM");
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#lock.release();
    if (this.#options.temporary === true)
      rmSync(this.dataDir, { recursive: true, force: true, maxRetries: 3 });
  }

  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  async restart(): Promise<void> {
    const { log, clock } = this.#options;
    if (this.#isStopped)
      throw new Error(`the server of ${this.dataDir} was stopped for good: start a new one`);
    await this.#end("SIGTERM");
    const [port, monitorPort] = [this.url, this.monitorUrl].map((url) => Number(new URL(url).port));
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.start(port ?? -1, monitorPort ?? -1);
      } catch (error) {
        const isTaken =
          error instanceof NatsServerStartError && error.message.includes("address already in use");
        if (!isTaken || attempt >= PORT_RETRIES_MAX) throw error;
        log.debug({ port, attempt }, "port of the server is taken, trying again");
        await sleep(clock, PORT_RETRY_WAIT_MS);
      }
    }
  }

  freeze(): void {
    this.#process?.signal("SIGSTOP");
  }

  resume(): void {
    this.#process?.signal("SIGCONT");
  }

  onCrash(listener: (exit: GuardedExit) => void): () => void {
    this.#crashListeners.add(listener);
    return () => void this.#crashListeners.delete(listener);
  }

  async #spawn(port: number, monitorPort: number): Promise<GuardedProcess> {
    const {
      binary,
      dataDir,
      serverName = "tradewind",
      syncInterval = "always",
      temporary = false,
    } = this.#options;
    const { maxFileStoreBytes, cluster, extraConfig } = this.#options;
    const configFile = join(this.#runDir, "nats-server.conf");
    mkdirSync(this.#runDir, { recursive: true });
    clearPorts(this.#portsDir);
    rmSync(this.#logFile, { force: true });
    const config = {
      serverName,
      dataDir,
      portsDir: this.#portsDir,
      logFile: this.#logFile,
      port,
      monitorPort,
    };
    writeFileSync(
      configFile,
      renderServerConfig({ ...config, syncInterval, maxFileStoreBytes, cluster, extraConfig }),
    );
    try {
      const child = await startGuarded({
        command: binary,
        args: ["--config", configFile],
        lockPath: storeLockPath(dataDir),
        removeAfter: temporary ? [dataDir] : [],
      });
      this.#lock.setChild(markProcess(child.pid), markProcess(child.guardianPid));
      return child;
    } catch (cause) {
      throw new NatsServerStartError(`${binary} cannot be started: ${(cause as Error).message}`, { cause });
    }
  }

  #watch(child: GuardedProcess): void {
    this.#process = child;
    this.#pid = child.pid;
    this.#isEnding = false;
    void child.exited.then((exit) => {
      if (this.#process !== child) return;
      this.#process = undefined;
      if (!this.#isStopped) this.#lock.setChild(undefined);
      if (this.#isEnding) return;
      const { code, signal } = exit;
      this.#options.log.error(
        { pid: child.pid, code, signal, logFile: this.#logFile },
        "nats-server ended by itself",
      );
      for (const listener of this.#crashListeners) listener(exit);
    });
  }

  /** Ready means: its ports are known and JetStream answers. */
  async #ready(child: GuardedProcess, ended: Promise<GuardedExit>): Promise<ServerPorts> {
    const { clock } = this.#options;
    const giveUpMs = clock.monotonicMs() + READY_TIMEOUT_MS;
    let exit: GuardedExit | undefined;
    void ended.then((seen) => {
      exit = seen;
    });
    while (exit === undefined) {
      const ports = readPorts(this.#portsDir);
      if (ports !== undefined && (await isHealthy(ports.monitorUrl))) return ports;
      if (clock.monotonicMs() > giveUpMs) {
        await this.#end("SIGKILL");
        throw new NatsServerStartError(
          `nats-server ${child.pid} is not ready after ${READY_TIMEOUT_MS} ms${this.#lastLines("")}`,
        );
      }
      await sleep(clock, READY_POLL_MS);
    }
    throw new NatsServerStartError(`nats-server ended at its start${this.#lastLines(exit.stderr)}`);
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    this.#isEnding = true;
    child.signal("SIGCONT"); // a frozen server cannot see SIGTERM
    child.signal(signal);
    const { clock } = this.#options;
    const timer = clock.setTimer(() => child.signal("SIGKILL"), STOP_TIMEOUT_MS);
    await child.exited;
    timer.cancel();
  }

  get #portsDir(): string {
    return join(this.#runDir, "ports");
  }

  get #logFile(): string {
    return join(this.#runDir, "nats-server.log");
  }

  #lastLines(stderr: string): string {
    let text = stderr;
    try {
      text += readFileSync(this.#logFile, "utf8");
    } catch {
      // it ended before it opened its log
    }
    const lines = text.split("\n").filter((line) => line.trim() !== "");
    const bad = lines.filter((line) => /\[(FTL|ERR)\]|nats-server:/.test(line));
    const shown = (bad.length > 0 ? bad : lines).slice(-LOG_LINES_SHOWN);
    return shown.length === 0 ? "" : `:\n${shown.map((line) => `  ${line}`).join("\n")}`;
  }
}

async function isHealthy(monitorUrl: string): Promise<boolean> {
  try {
    const response = await fetch(`${monitorUrl}/healthz?js-enabled-only=true`, {
      signal: AbortSignal.timeout(1_000),
    });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
