import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep, systemClock } from "../../../platform/clock.ts";
import type { NatsServer } from "../../../platform/nats-server/index.ts";
import { freePorts } from "../../../platform/nats-server/ports.ts";
import { type TestCluster, testCluster, testServer } from "../../../platform/nats-server/testing.ts";
import { systemRandom } from "../../../platform/random.ts";
import { Api } from "./api.ts";
import { RoleProcess } from "./role-process.ts";

export interface FaultSystemOptions {
  /** nats-servers: one without replicas, or three with three. */
  readonly servers?: 1 | 3;
  readonly coreWorkers?: number;
  readonly analyticsWorkers?: number;
  readonly gateways?: number;
  /** Instead of servers of its own. The owner stops them. */
  readonly nats?: readonly NatsServer[];
  /** Copies of each stream; default: as many as there are servers. */
  readonly replicas?: number;
  /** Puts something between the processes and NATS. @returns the URL that they are given */
  readonly natsUrlFor?: (url: string, role: string) => Promise<string>;
  /** Puts something between the workers and the payment provider. */
  readonly pspUrlFor?: (url: string) => Promise<string>;
  /** Of every process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Of the workers alone. */
  readonly workerEnv?: Readonly<Record<string, string>>;
  readonly syncInterval?: string;
}

type Kind = "core" | "analytics" | "gateway" | "psp";

const OWNED_MS_MAX = 60_000;
const POLL_MS = 50;
/** One for each of the two workers, as it is recommended; orders and their stock lie in different ones. */
export const LOGS = 2;

/** A whole Tradewind of separate processes on free ports, to be broken. */
export class FaultSystem {
  readonly nats: readonly NatsServer[];
  readonly cluster: TestCluster | undefined;
  readonly dir: string;
  readonly processes: RoleProcess[] = [];
  readonly #retired: RoleProcess[] = [];
  readonly #options: FaultSystemOptions;
  readonly #natsUrl: string;
  readonly #ports: number[];
  readonly #started = new Map<Kind, number>();
  #pspUrl = "";
  #api: Api | undefined;
  #workerPspUrl = "";

  private constructor(
    options: FaultSystemOptions,
    nats: readonly NatsServer[],
    cluster: TestCluster | undefined,
    ports: number[],
  ) {
    this.#options = options;
    this.nats = nats;
    this.cluster = cluster;
    this.#ports = ports;
    this.#natsUrl = nats.map(({ url }) => url).join(",");
    this.dir = mkdtempSync(join(tmpdir(), "tradewind-faults-"));
  }

  static async start(options: FaultSystemOptions = {}): Promise<FaultSystem> {
    const { servers = 1, syncInterval = "always" } = options;
    const cluster =
      options.nats === undefined && servers === 3 ? await testCluster({ syncInterval }) : undefined;
    const nats = options.nats ?? cluster?.servers ?? [await testServer({ syncInterval })];
    const ports = await freePorts(40, () => systemRandom.float());
    const system = new FaultSystem(options, nats, cluster, ports);
    try {
      await system.#startAll();
      return system;
    } catch (error) {
      await system.stop();
      throw error;
    }
  }

  get replicas(): number {
    return this.nats.length;
  }

  /** `R1` or `R3`. */
  get label(): string {
    return `R${this.replicas}`;
  }

  get gateways(): readonly RoleProcess[] {
    return this.#of("gateway");
  }

  get coreWorkers(): readonly RoleProcess[] {
    return this.#of("core");
  }

  get analyticsWorkers(): readonly RoleProcess[] {
    return this.#of("analytics");
  }

  get psp(): RoleProcess {
    const [psp] = this.#of("psp");
    if (psp === undefined) throw new Error("there is no payment provider");
    return psp;
  }

  /** Of the payment provider itself, whatever stands between it and the workers. */
  get pspUrl(): string {
    return this.#pspUrl;
  }

  /** All gateways; a call that fails goes to the next one. */
  get api(): Api {
    this.#api ??= new Api(() => this.gatewayUrls);
    return this.#api;
  }

  readonly gatewayUrls: string[] = [];

  /** Starts one more process of a role and waits until it is ready. */
  async add(kind: Exclude<Kind, "psp">, env: Readonly<Record<string, string>> = {}, codeRoot?: string) {
    const role = await this.#spawn(kind, env, codeRoot);
    await role.ready();
    return role;
  }

  /** Takes a process out for good. */
  retire(role: RoleProcess): void {
    const at = this.processes.indexOf(role);
    if (at < 0) return;
    this.processes.splice(at, 1);
    this.#retired.push(role);
  }

  /** Everything runs again: the servers, the roles that were started, nothing frozen; every log has an owner. */
  async heal(): Promise<void> {
    for (const server of this.nats) server.resume();
    await Promise.all(this.nats.filter(({ isRunning }) => !isRunning).map((server) => server.restart()));
    await this.cluster?.waitUntilReady();
    for (const role of this.processes) role.resume();
    await Promise.all(this.processes.filter(({ isRunning }) => !isRunning).map((role) => role.start()));
    await Promise.all(this.processes.map((role) => role.ready()));
    await this.owned();
  }

  /** Waits until every log has an owner. @returns log by owner */
  async owned(): Promise<ReadonlyMap<string, readonly string[]>> {
    const giveUpMs = systemClock.monotonicMs() + OWNED_MS_MAX;
    for (;;) {
      const owners = await this.owners();
      const names = [...owners.keys()];
      if (names.length > 0 && !names.includes("")) return owners;
      if (systemClock.monotonicMs() > giveUpMs)
        throw new Error(`logs without an owner after ${OWNED_MS_MAX} ms: ${owners.get("")?.join(", ")}`);
      await sleep(systemClock, POLL_MS);
    }
  }

  /** Logs such as `core/2` by the id of their owner, `""` for none. Empty when nobody answers. */
  async owners(): Promise<ReadonlyMap<string, readonly string[]>> {
    const result = await this.api.call<{ logs?: { group: string; log?: number; owner?: string }[] }>(
      "/tradewind.ops.v1.OpsService/GetSystemStatus",
      {},
    );
    const owners = new Map<string, string[]>();
    for (const { group, log = 0, owner = "" } of result.ok ? (result.value.logs ?? []) : []) {
      owners.set(owner, [...(owners.get(owner) ?? []), `${group}/${log}`]);
    }
    return owners;
  }

  /** Ends everything and removes its files. */
  async stop(): Promise<void> {
    this.#api?.close();
    const all = [...this.processes, ...this.#retired];
    for (const role of all) role.resume();
    await Promise.all(all.map((role) => role.kill()));
    if (this.cluster !== undefined) await this.cluster.stop();
    else if (this.#options.nats === undefined) await Promise.all(this.nats.map((server) => server.stop()));
    if (process.env["FAULTS_KEEP_LOGS"] === undefined) rmSync(this.dir, { recursive: true, force: true });
    else process.stdout.write(`logs are kept in ${this.dir}\n`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Records of level error and above in all logs, for a test that failed. */
  errors(): string {
    const lines = readdirSync(this.dir)
      .filter((name) => name.endsWith(".log"))
      .flatMap((name) =>
        readFileSync(join(this.dir, name), "utf8")
          .split("\n")
          .map((line) => `${name} ${line}`),
      );
    return lines
      .filter((line) => /"level":"(error|fatal)"/.test(line) || !/ \{|^\S+ $/.test(line))
      .join("\n");
  }

  #of(kind: Kind): readonly RoleProcess[] {
    return this.processes.filter(({ name }) => name.startsWith(`${kind}-`));
  }

  async #startAll(): Promise<void> {
    const { coreWorkers = 2, analyticsWorkers = 1, gateways = 1, pspUrlFor } = this.#options;
    const psp = await this.#spawn("psp", {});
    this.#workerPspUrl = (await pspUrlFor?.(this.#pspUrl)) ?? this.#pspUrl;
    const counts = { core: coreWorkers, analytics: analyticsWorkers, gateway: gateways } as const;
    const started = [psp];
    for (const kind of ["core", "analytics", "gateway"] as const) {
      for (let count = 0; count < counts[kind]; count++) started.push(await this.#spawn(kind, {}));
    }
    await Promise.all(started.map((role) => role.ready()));
    await this.owned();
  }

  async #spawn(kind: Kind, extra: Readonly<Record<string, string>>, codeRoot?: string): Promise<RoleProcess> {
    const port = this.#port();
    const number = (this.#started.get(kind) ?? 0) + 1;
    this.#started.set(kind, number);
    const name = `${kind}-${number}`;
    const natsUrl = (await this.#options.natsUrlFor?.(this.#natsUrl, name)) ?? this.#natsUrl;
    const env = { NATS_URL: natsUrl, ...this.#envOf(kind, port), ...this.#options.env, ...extra };
    const args = kind === "core" || kind === "analytics" ? ["worker", "--group", kind] : [kind];
    const adminPort = this.#port();
    const code = codeRoot === undefined ? {} : { codeRoot };
    const role = new RoleProcess({ name, args, env, adminPort, dir: this.dir, ...code });
    this.processes.push(role);
    if (kind === "gateway") this.gatewayUrls.push(`http://127.0.0.1:${port}`);
    if (kind === "psp") this.#pspUrl = `http://127.0.0.1:${port}`;
    await role.start();
    return role;
  }

  #envOf(kind: Kind, port: number): Record<string, string> {
    if (kind === "gateway") return { PORT: String(port) };
    if (kind === "psp") return { PSP_PORT: String(port), PSP_LEDGER_FILE: join(this.dir, "ledger.jsonl") };
    return {
      PSP_URL: this.#workerPspUrl,
      LOGS: String(LOGS),
      STREAM_REPLICAS: String(this.#options.replicas ?? this.replicas),
      ...this.#options.workerEnv,
    };
  }

  #port(): number {
    const port = this.#ports.pop();
    if (port === undefined) throw new Error("no port is left");
    return port;
  }
}
