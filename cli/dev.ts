import { rmSync } from "node:fs";
import { join, relative } from "node:path";
import type { Env, ProcessParts, WorkerRole } from "../actors/main.ts";
import { startAdminServer } from "../platform/admin-server.ts";
import { type Clock, sleep, systemClock } from "../platform/clock.ts";
import { type ConfigOf, readConfig } from "../platform/config.ts";
import { createHealth } from "../platform/health.ts";
import { createLogger } from "../platform/log.ts";
import { isPortFree } from "../platform/nats-server/ports.ts";
import { createShutdown } from "../platform/shutdown.ts";
import { createApiClient } from "./api-client.ts";
import { devSettings } from "./config.ts";
import { seedDemoCatalogue } from "./demo-catalogue.ts";
import { type DevNats, startDevNats } from "./dev-nats.ts";
import { writeEndpoint } from "./endpoint.ts";
import { ExitError } from "./exit-error.ts";
import { watchNpm } from "./parent-watch.ts";
import type { Terminal } from "./terminal.ts";
import { welcomeLines } from "./welcome.ts";

type DevConfig = ConfigOf<typeof devSettings>;

const STOP_DEADLINE_MS = 20_000;
/** Logs of a system whose worker was killed are taken over within a lease. */
const READY_MS_MAX = 30_000;
const READY_POLL_MS = 10;
const ADMIN_PORT_USUAL = 9_464;
/** A worker that keeps its name over a restart takes its logs back at once, also after kill -9. */
const WORKER_ID = "dev";

/**
 * Runs the whole system in this process, with nats-server as its child, until Ctrl-C: API, workers of all groups,
 * payment
 * simulator, demo catalogue.
 * @param fresh forgets all data first
 * @throws ExitError with what to do, when a port or the data folder is taken or no nats-server can be had
 */
export async function dev(terminal: Terminal, env: Env, fresh: boolean): Promise<void> {
  const config = readConfig(devSettings, env);
  const clock = systemClock;
  await checkPort(config.port);
  const log = createLogger({ role: "dev", level: config.logLevel, pretty: process.stdout.isTTY === true });
  const health = createHealth();
  const shutdown = createShutdown({ log, deadlineMs: STOP_DEADLINE_MS });
  shutdown.onSignals();
  const stopWatching = watchNpm(env, clock, () => process.kill(process.pid, "SIGTERM"));
  shutdown.add("watch on npm", stopWatching);
  try {
    await start(terminal, env, config, { log, health, shutdown }, clock, fresh);
  } catch (error) {
    await shutdown.stop("start failed");
    throw error;
  }
  shutdown.add("farewell", () => terminal.note("stopping …"));
}

async function checkPort(port: number): Promise<void> {
  if (port === 0 || (await isPortFree(port))) return;
  throw new ExitError(
    `port ${port} is taken, maybe by another npm start: stop that one, or choose a port with PORT=8081 npm start`,
    69,
  );
}

async function start(
  terminal: Terminal,
  env: Env,
  config: DevConfig,
  parts: ProcessParts,
  clock: Clock,
  fresh: boolean,
): Promise<void> {
  const { health, shutdown } = parts;
  const { dataDir } = config;
  // nats-server starts while the code of the roles is loaded.
  const [nats, { startPspRole, startWorkerRole }, { startGatewayRole }] = await Promise.all([
    startDevNats(terminal, env, config, parts, fresh),
    import("../actors/main.ts"),
    import("../gateway/main.ts"),
  ]);
  const ledgerFile = join(dataDir, "payments.jsonl");
  if (fresh) rmSync(ledgerFile, { force: true });
  const pspUrl = await startPspRole(parts, { PSP_LEDGER_FILE: ledgerFile, ...env, PSP_PORT: "0" });
  const adminPort = (await isPortFree(ADMIN_PORT_USUAL)) ? ADMIN_PORT_USUAL : 0;
  const admin = await startAdminServer({ port: adminPort, health, info: { role: "dev" } });
  shutdown.add("admin server", () => admin.close());
  const roleEnv = {
    ...env,
    NATS_URL: nats.url,
    PSP_URL: env["PSP_URL"] ?? pspUrl,
    PORT: String(config.port),
  };
  // A shared NATS may have another `dev`: there the name must be this process's own.
  const workerEnv = nats.isEmbedded ? { WORKER_ID, ...roleEnv } : roleEnv;
  const worker = await startWorkerRole(parts, workerEnv, ["core", "analytics"]);
  const gateway = await startGatewayRole(parts, roleEnv);
  const url = `http://localhost:${new URL(gateway.url).port}`;
  await ownsAll(worker, clock, shutdown.signal);
  await fillCatalogue(url, clock);
  shutdown.add("note of the address", writeEndpoint(dataDir, { pid: process.pid, url, natsUrl: nats.url }));
  greet(terminal, { url, adminUrl: `http://127.0.0.1:${admin.port}`, pspUrl, dataDir, nats, clock });
}

async function ownsAll(worker: WorkerRole, clock: Clock, signal: AbortSignal): Promise<void> {
  const giveUpMs = clock.monotonicMs() + READY_MS_MAX;
  while (!worker.ownsAll() && !signal.aborted) {
    if (clock.monotonicMs() > giveUpMs) {
      throw new ExitError(
        "the worker did not get its logs: see the log lines above, or begin anew with --fresh",
        75,
      );
    }
    await sleep(clock, READY_POLL_MS, signal);
  }
}

async function fillCatalogue(url: string, clock: Clock): Promise<void> {
  const api = createApiClient(url);
  try {
    await seedDemoCatalogue(api, clock);
  } finally {
    api.close();
  }
}

interface Greeting {
  readonly url: string;
  readonly adminUrl: string;
  readonly pspUrl: string;
  readonly dataDir: string;
  readonly nats: DevNats;
  readonly clock: Clock;
}

function greet(terminal: Terminal, { nats, clock, dataDir, ...urls }: Greeting): void {
  const facts = {
    ...urls,
    natsUrl: nats.url,
    natsMonitorUrl: nats.monitorUrl,
    dataDir: relative(process.cwd(), dataDir) || dataDir,
    // The monotonic clock starts with the process.
    readyMs: clock.monotonicMs(),
  };
  for (const line of welcomeLines(facts)) terminal.out(line);
}
