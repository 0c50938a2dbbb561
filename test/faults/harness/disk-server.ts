import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { type ClusterOptions, renderServerConfig } from "../../../platform/nats-server/config-file.ts";
import { type GuardedProcess, startGuarded } from "../../../platform/nats-server/guard.ts";
import type { NatsServer } from "../../../platform/nats-server/index.ts";
import { freePorts } from "../../../platform/nats-server/ports.ts";
import { testBinary } from "../../../platform/nats-server/testing.ts";
import { systemRandom } from "../../../platform/random.ts";

const READY_MS_MAX = 60_000;
const POLL_MS = 20;

export interface DiskServerOptions {
  /** On the disk that is broken. */
  readonly storeDir: string;
  /** On another one: configuration, log. */
  readonly runDir: string;
  readonly maxFileStoreBytes?: number;
  /** One of three; default: alone. */
  readonly member?: ClusterMember;
}

/** A place in a cluster. */
export interface ClusterMember {
  readonly serverName: string;
  readonly cluster: ClusterOptions;
}

const CLUSTER_SIZE = 3;

/** Places in a cluster on this machine. */
export async function clusterMembers(): Promise<readonly ClusterMember[]> {
  const routePorts = await freePorts(CLUSTER_SIZE, () => systemRandom.float());
  return routePorts.map((port, index) => ({
    serverName: `n${index + 1}`,
    cluster: { name: "disks", port, routePorts },
  }));
}

/** A nats-server whose store alone is on a disk that tests break: nothing of its keeper is there. */
export async function startDiskServer(options: DiskServerOptions): Promise<NatsServer> {
  const [port = 0, monitorPort = 0] = await freePorts(2, () => systemRandom.float());
  const server = new DiskServer(options, port, monitorPort);
  await server.restart();
  return server;
}

class DiskServer implements NatsServer {
  readonly url: string;
  readonly monitorUrl: string;
  readonly #options: DiskServerOptions;
  readonly #ports: readonly [number, number];
  #process: GuardedProcess | undefined;

  constructor(options: DiskServerOptions, port: number, monitorPort: number) {
    this.#options = options;
    this.#ports = [port, monitorPort];
    this.url = `nats://127.0.0.1:${port}`;
    this.monitorUrl = `http://127.0.0.1:${monitorPort}`;
  }

  get dataDir(): string {
    return this.#options.storeDir;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  async restart(): Promise<void> {
    await this.stop();
    const { storeDir, runDir, maxFileStoreBytes, member = { serverName: "disk" } } = this.#options;
    const [port, monitorPort] = this.#ports;
    const configFile = join(runDir, "nats-server.conf");
    mkdirSync(runDir, { recursive: true });
    const paths = { dataDir: storeDir, portsDir: runDir, logFile: join(runDir, "nats-server.log") };
    writeFileSync(
      configFile,
      renderServerConfig({
        ...paths,
        ...member,
        port,
        monitorPort,
        syncInterval: "always",
        maxFileStoreBytes,
      }),
    );
    const child = await startGuarded({
      command: await testBinary(),
      args: ["--config", configFile],
      removeAfter: [],
    });
    this.#process = child;
    void child.exited.then(() => {
      if (this.#process === child) this.#process = undefined;
    });
    await this.#ready();
  }

  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async stop(): Promise<void> {
    this.resume();
    await this.#end("SIGTERM");
  }

  freeze(): void {
    if (this.#process !== undefined) process.kill(this.#process.pid, "SIGSTOP");
  }

  resume(): void {
    if (this.#process !== undefined) process.kill(this.#process.pid, "SIGCONT");
  }

  onCrash(): () => void {
    return () => undefined;
  }

  async #end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    child.signal(signal);
    await child.exited;
    await Promise.resolve();
  }

  async #ready(): Promise<void> {
    const giveUpMs = systemClock.monotonicMs() + READY_MS_MAX;
    while (systemClock.monotonicMs() < giveUpMs) {
      try {
        const url = `${this.monitorUrl}/healthz?js-enabled-only=true`;
        const response = await fetch(url, { signal: AbortSignal.timeout(1_000) });
        await response.arrayBuffer();
        if (response.ok) return;
      } catch {
        // not yet
      }
      await sleep(systemClock, POLL_MS);
    }
    throw new Error(`nats-server on ${this.#options.storeDir} is not ready after ${READY_MS_MAX} ms`);
  }
}
