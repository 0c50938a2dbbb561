import { type ConfigOf, defineConfig } from "../platform/config.ts";
import { natsSettings } from "../platform/nats.ts";
import { GATEWAY_LIMITS } from "./limits.ts";

/** Settings of a gateway: `node gateway/main.ts`. */
export const gatewaySettings = defineConfig({
  ...natsSettings,
  host: {
    env: "HOST",
    type: "text",
    default: "127.0.0.1",
    description: "address that the API listens on; 0.0.0.0 in a pod",
  },
  port: {
    env: "PORT",
    type: "integer",
    default: 8080,
    min: 0,
    max: 65_535,
    description: "port of the API; 0 takes any free one",
  },
  open: {
    env: "GATEWAY_OPEN",
    type: "boolean",
    default: false,
    description: "serve callers from other machines too; without credentials everybody is the tenant `demo`",
  },
  corsOrigins: {
    env: "CORS_ORIGINS",
    type: "text",
    default: "local",
    description: "origins whose pages may call, separated by commas; `local` is this machine, `*` is any",
  },
  callsInFlightMax: {
    env: "CALLS_IN_FLIGHT_MAX",
    type: "integer",
    default: GATEWAY_LIMITS.callsInFlightMax,
    min: 1,
    max: 100_000,
    description: "calls under way; more are refused with OVERLOADED",
  },
  streamsOpenMax: {
    env: "STREAMS_OPEN_MAX",
    type: "integer",
    default: GATEWAY_LIMITS.streamsOpenMax,
    min: 1,
    max: 100_000,
    description: "streams open; more are refused with OVERLOADED",
  },
  drainDelayMs: {
    env: "DRAIN_DELAY",
    type: "durationMs",
    default: GATEWAY_LIMITS.drainDelayMs,
    max: 60_000,
    description: "time between not ready and closing the port, for load balancers to look away",
  },
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
    choices: ["fatal", "error", "warn", "info", "debug", "trace", "silent"],
    default: "info",
    description: "least level that is logged",
  },
  shutdownDeadlineMs: {
    env: "SHUTDOWN_DEADLINE",
    type: "durationMs",
    default: 25_000,
    min: 1_000,
    max: 600_000,
    description: "time to finish after SIGTERM; then the process exits with 1",
  },
});

export type GatewayConfig = ConfigOf<typeof gatewaySettings>;
