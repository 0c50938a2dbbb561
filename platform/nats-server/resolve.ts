import { access, constants } from "node:fs/promises";
import { delimiter, join, resolve as absolute } from "node:path";
import { type Clock, systemClock } from "../clock.ts";
import {
  cachedServers,
  cacheDirOf,
  executableName,
  installIntoCache,
  type Target,
  thisTarget,
  withCacheLock,
} from "./cache.ts";
import { debianWay } from "./debian.ts";
import { GO_MODULE, goWay } from "./go.ts";
import { RELEASE_VERSION, releaseWay } from "./release.ts";
import { formatVersion, probeServer, VERSION_MIN } from "./version.ts";
import type { Way } from "./ways.ts";

export interface ResolveOptions {
  /** `NATS_SERVER_BIN`, `PATH`, `XDG_CACHE_HOME`, `TRADEWIND_OFFLINE`, `TRADEWIND_NATS_MIRROR` are read. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Default: `$XDG_CACHE_HOME/tradewind/nats-server`, else `~/.cache/tradewind/nats-server`. */
  readonly cacheDir?: string;
  /** One line a step, for the person who waits. */
  readonly progress?: (line: string) => void;
  /** Tried in this order when nothing is found. */
  readonly ways?: readonly Way[];
  readonly target?: Target;
  readonly clock?: Clock;
}

export interface ResolvedServer {
  readonly path: string;
  readonly version: string;
  /** `NATS_SERVER_BIN`, `PATH`, `cache`, or the name of the way it was obtained. */
  readonly source: string;
}

/** No nats-server was found or obtained. The message holds what was tried and the commands that help. */
export class NatsServerMissingError extends Error {
  override readonly name = "NatsServerMissingError";
  /** EX_UNAVAILABLE of sysexits. */
  readonly exitCode = 69;
}

const DEFAULT_WAYS: readonly Way[] = [releaseWay, goWay, debianWay];

/**
 * Finds a nats-server of at least 2.14, or obtains one into the cache. Safe for many processes at once: one obtains,
 * the others wait and use its result.
 * @throws NatsServerMissingError
 */
export async function resolveNatsServer(options: ResolveOptions): Promise<ResolvedServer> {
  const { env, cacheDir = cacheDirOf(env), progress = () => undefined, ways = DEFAULT_WAYS } = options;
  const { target = thisTarget(), clock = systemClock } = options;
  const tried: string[] = [];
  const failed = (name: string, error: unknown) => {
    const line = `${name}: ${error instanceof Error ? error.message : String(error)}`;
    tried.push(line);
    progress(`nats-server: ${line}`);
  };

  const found = (await fromEnvironment(env, target, failed)) ?? (await fromCache(cacheDir, target));
  if (found !== undefined) return found;
  if (isOffline(env)) {
    tried.push("TRADEWIND_OFFLINE is set: nothing was downloaded or built");
    throw new NatsServerMissingError(missingText(target, tried));
  }
  return await withCacheLock(cacheDir, clock, progress, async (workDir) => {
    const meanwhile = await fromCache(cacheDir, target);
    if (meanwhile !== undefined) return meanwhile;
    for (const way of ways) {
      try {
        const binary = await way.obtain({ env, target, workDir, progress });
        const version = await probeServer(binary);
        const path = await installIntoCache(cacheDir, target, version, binary);
        progress(`nats-server: ${formatVersion(version)} is ready at ${path}`);
        return { path, version: formatVersion(version), source: way.name };
      } catch (error) {
        failed(way.name, error);
      }
    }
    throw new NatsServerMissingError(missingText(target, tried));
  });
}

async function fromEnvironment(
  env: ResolveOptions["env"],
  target: Target,
  failed: (name: string, error: unknown) => void,
): Promise<ResolvedServer | undefined> {
  const named = env["NATS_SERVER_BIN"] ?? "";
  if (named !== "") {
    try {
      const path = absolute(named);
      return { path, version: formatVersion(await probeServer(path)), source: "NATS_SERVER_BIN" };
    } catch (error) {
      failed("NATS_SERVER_BIN", error);
    }
  }
  for (const dir of (env["PATH"] ?? "").split(delimiter).filter((entry) => entry !== "")) {
    const path = absolute(join(dir, executableName(target)));
    try {
      await access(path, constants.X_OK);
    } catch {
      continue; // most directories of the PATH have none
    }
    try {
      return { path, version: formatVersion(await probeServer(path)), source: "PATH" };
    } catch (error) {
      failed("PATH", error);
    }
  }
  return undefined;
}

/** A broken or too old entry is passed over, and replaced when its version is obtained again. */
async function fromCache(cacheDir: string, target: Target): Promise<ResolvedServer | undefined> {
  for (const path of await cachedServers(cacheDir, target)) {
    try {
      return { path, version: formatVersion(await probeServer(path)), source: "cache" };
    } catch {
      continue;
    }
  }
  return undefined;
}

function isOffline(env: ResolveOptions["env"]): boolean {
  return !["", "0", "false", "no"].includes(env["TRADEWIND_OFFLINE"]?.toLowerCase() ?? "");
}

function missingText(target: Target, tried: readonly string[]): string {
  const lines = [`no nats-server ${formatVersion(VERSION_MIN)} or newer was found`];
  for (const line of tried) lines.push(`  - ${line}`);
  lines.push("do one of these, then start again:");
  for (const line of commandsFor(target)) lines.push(`  ${line}`);
  return lines.join("\n");
}

/** What a person types on this system to get a server, best first. */
export function commandsFor({ os, arch }: Target): string[] {
  const base = `https://github.com/nats-io/nats-server/releases/download/v${RELEASE_VERSION}`;
  const folder = `nats-server-v${RELEASE_VERSION}-${os}-${arch}`;
  const archive = `${base}/${folder}.tar.gz`;
  const general = [
    `go install github.com/nats-io/nats-server/v2@${GO_MODULE.split("@")[1] ?? "latest"}`,
    "docker run -d -p 127.0.0.1:4222:4222 nats:2.14 -js   and set NATS_URL=nats://127.0.0.1:4222",
    "set NATS_SERVER_BIN=<path of a nats-server> or NATS_URL=<a running server>",
  ];
  if (os === "darwin") return ["brew install nats-server", ...general];
  if (os === "windows")
    return ["scoop install nats-server", "winget install NATSAuthors.NATSServer", ...general];
  return [`curl -fL ${archive} | tar xz && export NATS_SERVER_BIN=$PWD/${folder}/nats-server`, ...general];
}
