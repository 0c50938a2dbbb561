import { closeSync, fsyncSync, openSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { type Clock, sleep } from "../clock.ts";
import { acquirePidLock, LockHeldError, type PidLock } from "./pid-lock.ts";
import { compareVersions, formatVersion, parseVersion, type ServerVersion } from "./version.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** Go's names of this machine, as the releases use them. */
export interface Target {
  readonly os: string;
  readonly arch: string;
}

/** `go install` of a cold module cache on a small machine takes minutes; nobody waits longer than this. */
const LOCK_WAIT_MS_MAX = 15 * 60_000;
const LOCK_POLL_MS = 100;

export function thisTarget(): Target {
  const os = process.platform === "win32" ? "windows" : process.platform;
  const arch = { x64: "amd64", arm: "arm7", ia32: "386" }[process.arch as string] ?? process.arch;
  return { os, arch };
}

export function executableName({ os }: Target): string {
  return os === "windows" ? "nats-server.exe" : "nats-server";
}

/** `$XDG_CACHE_HOME/tradewind/nats-server`, else below `~/.cache`. */
export function cacheDirOf(env: Env): string {
  const base = env["XDG_CACHE_HOME"] ?? "";
  return join(base === "" ? join(homedir(), ".cache") : base, "tradewind", "nats-server");
}

/** Cached binaries for this machine, newest first. */
export async function cachedServers(cacheDir: string, target: Target): Promise<string[]> {
  const suffix = `-${target.os}-${target.arch}`;
  const entries = await readdir(cacheDir).catch(() => [] as string[]);
  return entries
    .filter((entry) => entry.endsWith(suffix))
    .flatMap((entry) => {
      const version = parseVersion(entry.slice(0, -suffix.length));
      return version === undefined ? [] : [{ version, path: join(cacheDir, entry, executableName(target)) }];
    })
    .toSorted((a, b) => compareVersions(b.version, a.version))
    .map(({ path }) => path);
}

/** Moves a finished binary into its place in one step; returns the place. Replacing the same version is harmless. */
export async function installIntoCache(
  cacheDir: string,
  target: Target,
  version: ServerVersion,
  binary: string,
): Promise<string> {
  await chmod(binary, 0o755);
  syncFile(binary);
  const dir = join(cacheDir, `${formatVersion(version)}-${target.os}-${target.arch}`);
  await mkdir(dir, { recursive: true });
  const place = join(dir, executableName(target));
  await rename(binary, place);
  return place;
}

function syncFile(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/**
 * Runs `work` with an empty directory while no other process obtains a server. What killed processes left is
 * removed first.
 */
export async function withCacheLock<T>(
  cacheDir: string,
  clock: Clock,
  progress: (line: string) => void,
  work: (workDir: string) => Promise<T>,
): Promise<T> {
  await mkdir(cacheDir, { recursive: true });
  const lock = await waitForLock(join(cacheDir, "lock"), clock, progress);
  try {
    const left = (await readdir(cacheDir)).filter((entry) => entry.startsWith("work-"));
    for (const entry of left) await rm(join(cacheDir, entry), { recursive: true, force: true });
    const workDir = await mkdtemp(join(cacheDir, "work-"));
    try {
      return await work(workDir);
    } finally {
      await rm(workDir, { recursive: true, force: true });
    }
  } finally {
    lock.release();
  }
}

async function waitForLock(path: string, clock: Clock, progress: (line: string) => void): Promise<PidLock> {
  const giveUpMs = clock.monotonicMs() + LOCK_WAIT_MS_MAX;
  for (let isFirst = true; ; isFirst = false) {
    try {
      return acquirePidLock(path);
    } catch (error) {
      if (!(error instanceof LockHeldError) || clock.monotonicMs() > giveUpMs) throw error;
      if (isFirst) progress(`nats-server: waiting for process ${error.holder.pid}, which is obtaining it`);
      await sleep(clock, LOCK_POLL_MS);
    }
  }
}
