/** Worker role: `node actors/main.ts --group core`, and the start functions that the command line shares with it. */
import { parseArgs } from "node:util";
import { startAdminServer } from "../platform/admin-server.ts";
import { type Clock, systemClock, type TimerHandle } from "../platform/clock.ts";
import { readConfig } from "../platform/config.ts";
import { createHealth, type Health } from "../platform/health.ts";
import { createLogger, type Logger, type LogLevel } from "../platform/log.ts";
import { counter, gauge } from "../platform/metrics.ts";
import { connectNats } from "../platform/nats.ts";
import { systemRandom } from "../platform/random.ts";
import { createShutdown, type Shutdown } from "../platform/shutdown.ts";
import { startArchivist } from "./archivist/archivist-loop.ts";
import { pspSettings, type WorkerConfig, workerSettings } from "./config.ts";
import { ACTORS, PROJECTIONS } from "./kinds.ts";
import { paymentTasks } from "./payment/payment-tasks.ts";
import { createHttpProvider } from "./payment/provider-http.ts";
import { createMemoryProvider } from "./payment/provider-memory.ts";
import type { PaymentProvider } from "./payment/provider.ts";
import { startPspServer } from "./psp/psp-server.ts";
import {
  createActorClient,
  createJetStreamBus,
  createTopology,
  ensureTopology,
  storedTopology,
  startTaskWorker,
  startWorker,
  type TaskWorker,
  type TaskWorkerOptions,
  type Topology,
  type Worker,
} from "./runtime/index.ts";
import { PaymentSimulator } from "./shared/payment-simulator.ts";
import { ensureDemoTenant } from "./tenant/demo-tenant.ts";

/** Variables of a process, as they were given. */
export type Env = Readonly<Record<string, string | undefined>>;

/** What a role needs of its process. Parts that it starts are stopped by `shutdown`, in reverse order. */
export interface ProcessParts {
  readonly log: Logger;
  readonly health: Health;
  readonly shutdown: Shutdown;
}

/** A worker role that runs. */
export interface WorkerRole {
  /** Whether every log of its groups is owned by this process. */
  ownsAll(): boolean;
}

/** How often the state of a worker is brought to health and metrics. */
const WATCH_MS = 250;
const DAY_MS = 86_400_000;
const PSP_NAME = "payment provider";

/**
 * Connects, makes or checks the streams, and works for the groups until `shutdown` stops it: no new tasks, then
 * each log
 * is finished, projected and handed over, then the connection is drained. A worker of `core` also serves the task
 * queues.
 * @throws ConfigError, NatsConnectError, TopologyError
 */
export async function startWorkerRole(
  { log, health, shutdown }: ProcessParts,
  env: Env,
  groups: readonly string[],
): Promise<WorkerRole> {
  const config = readConfig(workerSettings, env);
  checkGroups(createTopology(), groups);
  const workerId = config.workerId ?? `w-${systemRandom.id()}`;
  const name = `tradewind worker ${groups.join(",")} ${workerId}`;
  const nc = await connectNats({
    servers: config.natsUrl ?? "nats://127.0.0.1:4222",
    name,
    log,
    credentials: config,
    signal: shutdown.signal,
  });
  // While the server is away there is nothing to drain.
  shutdown.add("nats connection", () => nc.drain().catch(() => nc.close()));
  const { streamReplicas: replicas, storeBytesMax, recordsCachedMax, eventsRetentionDays, logs } = config;
  const stored = logs === undefined ? await storedTopology(nc) : undefined;
  const topology = stored ?? createTopology(logs === undefined ? {} : { logs });
  await ensureTopology({
    nc,
    topology,
    log,
    replicas,
    ...(storeBytesMax !== undefined && { storeBytesMax }),
  });
  const bus = createJetStreamBus({ nc, log });
  shutdown.add("bus", () => bus.close());
  const shared = { bus, clock: systemClock, random: systemRandom, log, topology };
  const onDeadLetter = (kind: string, reason: string) => deadLetters.inc({ kind, reason });
  const tasks = groups.includes("core") ? serveTasks(shared, config) : undefined;
  const workers = groups.map((group) => {
    const worker = startWorker({
      ...shared,
      group,
      workerId,
      actors: ACTORS,
      projections: PROJECTIONS,
      ...(tasks && group === "core" && { tasks }),
      onDeadLetter,
      recordsCachedMax,
      ...(eventsRetentionDays !== undefined && { eventsAgeMsMax: eventsRetentionDays * DAY_MS }),
    });
    shutdown.add(`worker ${group}`, () => worker.stop());
    return { group, worker };
  });
  if (tasks !== undefined) {
    shutdown.add("task worker", () => tasks.stop());
    openDemoTenant(shared, shutdown);
    archiveOldOrders(shared, config, workers.find(({ group }) => group === "core")?.worker, shutdown);
  }
  watchWorkers(workers, health, shutdown, systemClock);
  return {
    ownsAll: () => workers.every(({ group, worker }) => worker.owned().length === topology.group(group).logs),
  };
}

function checkGroups(topology: Topology, groups: readonly string[]): void {
  const known = topology.groups.map(({ name }) => name);
  const unknown = groups.filter((group) => !known.includes(group));
  if (unknown.length === 0 && groups.length > 0) return;
  const given = groups.length === 0 ? "no group is given" : `there is no group ${unknown.join(", ")}`;
  throw Object.assign(new Error(`${given}: use --group with ${known.join(" or ")}`), { exitCode: 64 });
}

const deadLetters = counter({
  name: "tradewind_worker_dead_letters_total",
  help: "Messages that could not be applied, by kind and reason.",
  labels: ["kind", "reason"],
});
const logsOwned = gauge({
  name: "tradewind_worker_logs_owned",
  help: "Logs that this process owns, by group.",
  labels: ["group"],
});

function serveTasks(shared: Omit<TaskWorkerOptions, "services">, config: WorkerConfig): TaskWorker {
  const provider = paymentProvider(config, shared.log);
  const tasks = startTaskWorker({ ...shared, services: [...paymentTasks(provider)] });
  gauge({
    name: "tradewind_worker_tasks_running",
    help: "Tasks that this process works on.",
    collect: (running) => running.set(tasks.running()),
  });
  return tasks;
}

/** In the background: whoever owns the log of the tenant answers, now or later. */
function openDemoTenant(shared: Omit<TaskWorkerOptions, "services">, { signal }: Shutdown): void {
  const client = createActorClient(shared);
  const open = async () => {
    while (!signal.aborted && !(await ensureDemoTenant(client)));
  };
  const onError = (error: unknown) => shared.log.error({ err: error }, "the demo tenant cannot be opened");
  void open()
    .catch(onError)
    .finally(() => void client.close());
}

const ordersArchived = counter({
  name: "tradewind_worker_orders_archived_total",
  help: "Orders that this process has archived.",
});

/** The owner of the first log does it for all. */
function archiveOldOrders(
  shared: Omit<TaskWorkerOptions, "services">,
  { orderRetentionDays }: WorkerConfig,
  worker: Worker | undefined,
  shutdown: Shutdown,
): void {
  const client = createActorClient(shared);
  const archivist = startArchivist({
    ...shared,
    client,
    ageMs: orderRetentionDays * DAY_MS,
    isMine: () => worker?.owned().includes(0) === true,
    onArchived: (orders) => ordersArchived.inc(orders),
  });
  shutdown.add("archivist", async () => {
    await archivist.stop();
    await client.close();
  });
}

const circuitOpen = gauge({
  name: "tradewind_worker_provider_circuit_open",
  help: "1 while the payment provider answers nobody and is not called.",
});

function paymentProvider({ pspUrl }: WorkerConfig, log: Logger): PaymentProvider {
  if (pspUrl.startsWith("memory:")) return createMemoryProvider(new PaymentSimulator({ clock: systemClock }));
  circuitOpen.set(0);
  const onChange = (isOpen: boolean) => {
    circuitOpen.set(isOpen ? 1 : 0);
    if (isOpen) log.error({ pspUrl }, "payment provider answers nobody, calls are held back");
    else log.info({ pspUrl }, "payment provider answers again");
  };
  return createHttpProvider({ baseUrl: pspUrl, circuit: { onChange } });
}

function watchWorkers(
  workers: readonly { readonly group: string; readonly worker: Worker }[],
  health: Health,
  shutdown: Shutdown,
  clock: Clock,
): void {
  let timer: TimerHandle;
  const look = () => {
    for (const { group, worker } of workers) {
      const problem = worker.problem();
      const owned = worker.owned();
      logsOwned.set({ group }, owned.length);
      if (problem === undefined) health.ok(`group ${group}`, `owns ${owned.length} logs`);
      else health.fail(`group ${group}`, problem);
    }
    timer = clock.setTimer(look, WATCH_MS);
  };
  look();
  shutdown.add("worker watch", () => timer.cancel());
}

/** Starts the payment provider's simulator over HTTP. @returns its base URL */
export async function startPspRole({ log, health, shutdown }: ProcessParts, env: Env): Promise<string> {
  const config = readConfig(pspSettings, env);
  const { pspSuccessPercent, pspTimeoutPercent, pspUnreachablePercent, pspLedgerFile } = config;
  const psp = await startPspServer({
    clock: systemClock,
    host: config.pspHost,
    port: config.pspPort,
    settings: {
      successRate: pspSuccessPercent / 100,
      timeoutRate: pspTimeoutPercent / 100,
      unreachableRate: pspUnreachablePercent / 100,
      delayMs: config.pspDelayMs,
    },
    ...(pspLedgerFile !== undefined && { ledgerPath: pspLedgerFile }),
  });
  shutdown.add(PSP_NAME, () => psp.close());
  health.ok(PSP_NAME);
  log.info({ url: psp.url }, "payment provider's simulator listens");
  return psp.url;
}

/** Settings that every process has. */
export interface ProcessConfig {
  readonly adminHost: string;
  readonly adminPort: number;
  readonly logLevel: LogLevel;
  readonly shutdownDeadlineMs: number;
}

/**
 * Runs one role as a process: log, health, admin port, signals. A start that fails is logged and ends the process
 * with
 * the error's exit code (69 unavailable, 78 configuration, …).
 */
export async function runProcess(
  role: string,
  config: ProcessConfig,
  start: (parts: ProcessParts) => Promise<unknown>,
): Promise<void> {
  const log = createLogger({ role, level: config.logLevel, pretty: process.stdout.isTTY === true });
  const health = createHealth();
  health.register(role);
  const shutdown = createShutdown({ log, deadlineMs: config.shutdownDeadlineMs });
  shutdown.onSignals();
  try {
    const admin = await startAdminServer({
      host: config.adminHost,
      port: config.adminPort,
      health,
      info: { role },
    });
    shutdown.add("admin server", () => admin.close());
    log.info({ host: config.adminHost, port: admin.port }, "admin server listens");
    await start({ log, health, shutdown });
    health.ok(role);
    shutdown.add("readiness", () => health.stopping());
    log.info("started");
  } catch (err) {
    log.fatal({ err }, "start failed");
    await shutdown.stop("start failed");
    process.exit((err as { exitCode?: number }).exitCode ?? 1);
  }
}

/** The worker as a process of its own. */
export async function runWorkerProcess(env: Env, groups: readonly string[]): Promise<void> {
  await runProcess("worker", readConfig(workerSettings, env), (parts) => startWorkerRole(parts, env, groups));
}

/** The simulator of the payment provider as a process of its own. */
export async function runPspProcess(env: Env): Promise<void> {
  await runProcess("psp", readConfig(pspSettings, env), (parts) => startPspRole(parts, env));
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { group: { type: "string", multiple: true } } });
  const groups = (values.group ?? []).flatMap((text) => text.split(","));
  try {
    await runWorkerProcess(process.env, groups);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit((error as { exitCode?: number }).exitCode ?? 1);
  }
}
