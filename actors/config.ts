import { type ConfigOf, defineConfig } from "../platform/config.ts";
import { natsSettings } from "../platform/nats.ts";
import { ORDER_RETENTION_DAYS_MIN } from "./archivist/archivist.ts";
import { LIMITS } from "./runtime/index.ts";

const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;

/** What every process of the actors has: where its probes are, what it logs, how long it may take to stop. */
const processSettings = {
  adminHost: {
    env: "ADMIN_HOST",
    type: "text",
    default: "127.0.0.1",
    description: "address of `/metrics`, `/livez` and `/readyz`; 0.0.0.0 in a pod",
  },
  adminPort: {
    env: "ADMIN_PORT",
    type: "integer",
    default: 9464,
    min: 0,
    max: 65_535,
    description: "port of them; 0 takes any free one",
  },
  logLevel: {
    env: "LOG_LEVEL",
    type: "choice",
    choices: LOG_LEVELS,
    default: "info",
    description: "least level that is logged",
  },
  shutdownDeadlineMs: {
    env: "SHUTDOWN_DEADLINE",
    type: "durationMs",
    default: 25_000,
    min: 1_000,
    max: 600_000,
    description: "time to finish and hand over after SIGTERM; then the process exits with 1",
  },
} as const;

/** Settings of a worker: `node actors/main.ts --group core`. */
export const workerSettings = defineConfig({
  ...natsSettings,
  workerId: {
    env: "WORKER_ID",
    type: "text",
    optional: true,
    pattern: /^[a-z0-9][a-z0-9_-]{0,62}$/,
    description:
      "name of this worker, unique in its group; one that is kept over a restart skips the wait for its lease",
  },
  pspUrl: {
    env: "PSP_URL",
    type: "url",
    protocols: ["http", "https", "memory"],
    default: "http://127.0.0.1:8090",
    description:
      "base URL of the payment provider; `memory:` is a simulator inside this one worker, for benchmarks",
  },
  streamReplicas: {
    env: "STREAM_REPLICAS",
    type: "integer",
    default: 1,
    min: 1,
    max: 5,
    description: "copies of every stream that is made; 3 in production",
  },
  logs: {
    env: "LOGS",
    type: "integer",
    optional: true,
    min: 1,
    max: 64,
    description:
      "logs of each group, fixed when the streams are made, then 1 if unset: so many workers can share a group's work",
  },
  storeBytesMax: {
    env: "STORE_BYTES_MAX",
    type: "bytes",
    optional: true,
    min: 67_108_864,
    description: "bytes that all streams together may take; unset: no limit of their own",
  },
  recordsCachedMax: {
    env: "RECORDS_CACHED_MAX",
    type: "integer",
    default: LIMITS.recordsCachedMax,
    min: 100,
    max: 10_000_000,
    description:
      "records that a worker keeps in memory for each log, 1 to 3 KB each; others are read again when they are needed",
  },
  orderRetentionDays: {
    env: "ORDER_RETENTION_DAYS",
    type: "integer",
    default: 90,
    min: ORDER_RETENTION_DAYS_MIN,
    max: 3_650,
    description:
      "days after its last change from which on an order is archived: its figures stay, it can be read by its id",
  },
  eventsRetentionDays: {
    env: "EVENTS_RETENTION_DAYS",
    type: "integer",
    optional: true,
    min: ORDER_RETENTION_DAYS_MIN,
    max: 36_500,
    description: "days that events are kept, archived orders among them; unset: for ever",
  },
  ...processSettings,
});

export type WorkerConfig = ConfigOf<typeof workerSettings>;

const percent = (env: string, preset: number, description: string) =>
  ({ env, type: "integer", default: preset, min: 0, max: 100, description }) as const;

/** Settings of the payment provider's simulator: `tradewind psp`. */
export const pspSettings = defineConfig({
  pspHost: { env: "PSP_HOST", type: "text", default: "127.0.0.1", description: "address that it listens on" },
  pspPort: {
    env: "PSP_PORT",
    type: "integer",
    default: 8090,
    min: 0,
    max: 65_535,
    description: "port that it listens on; 0 takes any free one",
  },
  pspSuccessPercent: percent(
    "PSP_SUCCESS_PERCENT",
    100,
    "authorisations that are approved, of tokens it does not know",
  ),
  pspTimeoutPercent: percent(
    "PSP_TIMEOUT_PERCENT",
    0,
    "authorisations that take effect without an answer to the first call",
  ),
  pspUnreachablePercent: percent(
    "PSP_UNREACHABLE_PERCENT",
    0,
    "authorisations whose first call does not arrive",
  ),
  pspDelayMs: {
    env: "PSP_DELAY",
    type: "durationMs",
    default: 0,
    max: 60_000,
    description: "time before each answer",
  },
  pspLedgerFile: {
    env: "PSP_LEDGER_FILE",
    type: "text",
    optional: true,
    description: "file that keeps what took effect over a restart; unset: memory alone",
  },
  ...processSettings,
});
