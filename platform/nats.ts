import { readFileSync } from "node:fs";
import { JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import {
  connect,
  credsAuthenticator,
  type NatsConnection,
  type NodeConnectionOptions,
  TimeoutError,
} from "@nats-io/transport-node";
import { type Clock, sleep, systemClock } from "./clock.ts";
import { defineConfig } from "./config.ts";
import type { Logger } from "./log.ts";

export type { NatsConnection } from "@nats-io/transport-node";

/** nats-server 2.14: schedules, atomic cancel, consumer reset. Older servers drop stream fields silently. */
export const API_LEVEL_MIN = 4;

const RECONNECT_WAIT_MS = 100;
const RECONNECT_JITTER_MS = 100;
/** Two pings unanswered, so a frozen server is noticed within 15 s; the client's default is four minutes. */
const PING_INTERVAL_MS = 5_000;
const PINGS_UNANSWERED_MAX = 2;
const CONNECT_TIMEOUT_MS = 5_000;
const START_ATTEMPTS_MAX = 40;
const START_WAIT_MS_MIN = 50;
const START_WAIT_MS_MAX = 1_000;
/** An election takes up to 9 s, and a cluster that lost all members has one when the second is back. */
const ELECTION_MS_MAX = 60_000;
const ELECTION_WAIT_MS = 500;
/** The server's code for a cluster that knows of no leader. */
const NO_LEADER = 10008;

/** How a process finds and trusts its NATS; spread into the definition of a role's config. */
export const natsSettings = defineConfig({
  natsUrl: {
    env: "NATS_URL",
    type: "text",
    optional: true,
    description: "NATS servers, separated by commas; unset in development: an embedded server is started",
  },
  natsCredsFile: {
    env: "NATS_CREDS_FILE",
    type: "text",
    optional: true,
    description: "JWT and nkey of this role",
  },
  natsTlsCaFile: {
    env: "NATS_TLS_CA_FILE",
    type: "text",
    optional: true,
    description: "CA that signed the servers",
  },
  natsTlsCertFile: {
    env: "NATS_TLS_CERT_FILE",
    type: "text",
    optional: true,
    description: "client certificate",
  },
  natsTlsKeyFile: {
    env: "NATS_TLS_KEY_FILE",
    type: "text",
    optional: true,
    description: "key of the client certificate",
  },
});

/** Files that prove who we are and whom we trust. All are read once, at connect. */
export interface NatsCredentials {
  readonly natsCredsFile?: string | undefined;
  readonly natsTlsCaFile?: string | undefined;
  readonly natsTlsCertFile?: string | undefined;
  readonly natsTlsKeyFile?: string | undefined;
}

export interface NatsOptions {
  /** One URL, several, or several in one string separated by commas. */
  readonly servers: string | readonly string[];
  /** Shows in `nats server report connections`: role and component, never an id of a user. */
  readonly name: string;
  /** One per role, so that permissions can keep the replies of roles apart. */
  readonly inboxPrefix?: string;
  readonly log: Logger;
  readonly credentials?: NatsCredentials;
  /** Attempts before the first connection, about one a second: the server may still be starting. */
  readonly startAttemptsMax?: number;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
}

/** No server answered, or it refused us. Says which servers and what to check. */
export class NatsConnectError extends Error {
  override readonly name = "NatsConnectError";
  /** EX_UNAVAILABLE of sysexits. */
  readonly exitCode = 69;
}

/**
 * Connects for the life of the process: after the first success it reconnects for ever. Status changes are logged.
 * @throws NatsConnectError when the attempts are used up, the wait is aborted, or the server refuses the credentials.
 */
export async function connectNats(options: NatsOptions): Promise<NatsConnection> {
  const { log, name, clock = systemClock, startAttemptsMax = START_ATTEMPTS_MAX, signal } = options;
  const servers = serverList(options.servers);
  const connection = connectionOptions(options, servers);
  let waitMs = START_WAIT_MS_MIN;
  for (let attempt = 1; ; attempt++) {
    try {
      const nc = await connect(connection);
      void logStatus(nc, log.child({ component: "nats", connection: name }));
      return nc;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      if (isRefusal(cause)) throw new NatsConnectError(refusalText(servers, why), { cause });
      if (attempt >= startAttemptsMax || signal?.aborted === true) {
        throw new NatsConnectError(unreachableText(servers, attempt, why), { cause });
      }
      if (attempt === 4) log.warn({ servers: shown(servers), attempt, reason: why }, "waiting for nats");
      await sleep(clock, waitMs, signal);
      waitMs = Math.min(waitMs * 2, START_WAIT_MS_MAX);
    }
  }
}

function serverList(servers: string | readonly string[]): string[] {
  const list = typeof servers === "string" ? servers.split(",") : [...servers];
  return list.map((server) => server.trim()).filter((server) => server !== "");
}

function connectionOptions(options: NatsOptions, servers: string[]): NodeConnectionOptions {
  const { name, inboxPrefix, credentials = {} } = options;
  const { natsCredsFile, natsTlsCaFile, natsTlsCertFile, natsTlsKeyFile } = credentials;
  const login = loginOf(servers);
  const hasTls = natsTlsCaFile !== undefined || natsTlsCertFile !== undefined;
  return {
    servers: servers.map(withoutLogin),
    name,
    ...login,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_WAIT_MS,
    reconnectJitter: RECONNECT_JITTER_MS,
    reconnectJitterTLS: RECONNECT_JITTER_MS,
    pingInterval: PING_INTERVAL_MS,
    maxPingOut: PINGS_UNANSWERED_MAX,
    timeout: CONNECT_TIMEOUT_MS,
    noAsyncTraces: true, // halves the CPU of a publish: 22 to 9 µs
    waitOnFirstConnect: false,
    ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
    ...(natsCredsFile === undefined
      ? {}
      : { authenticator: credsAuthenticator(readFileSync(natsCredsFile)) }),
    ...(hasTls
      ? {
          tls: {
            ...(natsTlsCaFile === undefined ? {} : { caFile: natsTlsCaFile }),
            ...(natsTlsCertFile === undefined ? {} : { certFile: natsTlsCertFile }),
            ...(natsTlsKeyFile === undefined ? {} : { keyFile: natsTlsKeyFile }),
          },
        }
      : {}),
  };
}

/** `nats://user:password@host` or `nats://token@host`, as the NATS tools take it; the client alone ignores it. */
function loginOf(servers: readonly string[]): { user: string; pass: string } | { token: string } | undefined {
  for (const server of servers) {
    const [, user, pass] = /^(?:\w+:\/\/)?([^:@/]+)(?::([^@/]*))?@/.exec(server) ?? [];
    if (user !== undefined && pass !== undefined)
      return { user: decodeURIComponent(user), pass: decodeURIComponent(pass) };
    if (user !== undefined) return { token: decodeURIComponent(user) };
  }
  return undefined;
}

function withoutLogin(server: string): string {
  return server.replace(/^(\w+:\/\/)?[^@/]*@/, "$1");
}

/** Waiting does not heal these. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof Error && ["AuthorizationError", "UserAuthenticationExpiredError"].includes(error.name)
  );
}

function refusalText(servers: readonly string[], why: string): string {
  return `nats at ${shown(servers)} refused the connection: ${why}; check NATS_CREDS_FILE and the user's permissions`;
}

function unreachableText(servers: readonly string[], attempts: number, why: string): string {
  return `no nats-server at ${shown(servers)} after ${attempts} attempt(s): ${why}; start one there or set NATS_URL`;
}

function shown(servers: readonly string[]): string {
  return servers.map(withoutLogin).join(", ");
}

async function logStatus(nc: NatsConnection, log: Logger): Promise<void> {
  for await (const status of nc.status()) {
    switch (status.type) {
      case "disconnect":
        log.warn({ server: status.server }, "nats disconnected");
        break;
      case "reconnect":
        log.info({ server: status.server }, "nats reconnected");
        break;
      case "error":
        log.error({ err: status.error }, "nats reported an error");
        break;
      case "slowConsumer":
        log.warn({ subject: status.sub.getSubject(), pending: status.pending }, "nats subscription is slow");
        break;
      case "ldm":
        log.info({ server: status.server }, "nats server is about to stop");
        break;
      default:
        log.debug({ status: status.type }, "nats status changed");
    }
  }
  const err = await nc.closed();
  if (err !== undefined) log.error({ err }, "nats connection closed");
}

/** What the server can do. */
export interface ServerFacts {
  readonly version: string;
  readonly apiLevel: number;
}

/**
 * Checks that JetStream is on and new enough. Call it once at start, before any stream is made. Waits up to a minute
 * for a cluster that is electing its leader.
 * @throws NatsConnectError that says what to change.
 */
export async function checkServer(nc: NatsConnection, clock: Clock = systemClock): Promise<ServerFacts> {
  const version = nc.info?.version ?? "unknown";
  const where = `nats-server ${version} at ${shown([nc.getServer()])}`;
  let apiLevel: number;
  try {
    apiLevel = await apiLevelOf(nc, clock);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const advice =
      "turn on jetstream { store_dir, sync_interval: always } and allow $JS.API.INFO to this user";
    throw new NatsConnectError(`${where} has no JetStream for this account (${why}): ${advice}`, { cause });
  }
  if (apiLevel >= API_LEVEL_MIN) return { version, apiLevel };
  throw new NatsConnectError(
    `${where} has JetStream API level ${apiLevel}, needed is ${API_LEVEL_MIN}: upgrade to nats-server 2.14 or newer`,
  );
}

async function apiLevelOf(nc: NatsConnection, clock: Clock): Promise<number> {
  const giveUpMs = clock.monotonicMs() + ELECTION_MS_MAX;
  for (;;) {
    try {
      return (await (await jetstreamManager(nc)).getAccountInfo()).api.level ?? 0;
    } catch (error) {
      // Members without a leader do not answer, or say so: JetStream is on and will be there.
      const isElecting =
        error instanceof TimeoutError || (error instanceof JetStreamApiError && error.code === NO_LEADER);
      if (!isElecting || clock.monotonicMs() > giveUpMs) throw error;
      await sleep(clock, ELECTION_WAIT_MS);
    }
  }
}
