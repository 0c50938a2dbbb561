import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { sleep, systemClock } from "../../../platform/clock.ts";
import type { NatsServer } from "../../../platform/nats-server/index.ts";
import { type ClusterMember, clusterMembers, startDiskServer } from "./disk-server.ts";

const run = promisify(execFile);
const LOOP_BYTES = "384M";
const UMOUNT_TRIES_MAX = 100;
const UMOUNT_WAIT_MS = 100;
/** Stops a file system as a power cut does: nothing that is not on disk gets there, its own journal included. */
const SHUTDOWN_NO_LOG_FLUSH = `
import fcntl, os, struct, sys
FS_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587d, 2
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), FS_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
`;

/** A file system of its own for one nats-server. Needs root and Linux. */
export interface Disk extends AsyncDisposable {
  readonly server: NatsServer;
}

export interface TmpfsDisk extends Disk {
  /** Gives it more room. */
  grow(bytes: string): Promise<void>;
}

export interface LoopDisk extends Disk {
  /** Everything that was not synced is gone, and so is the server; then both come back. */
  cutPower(): Promise<void>;
}

/** Undefined where mounting is not allowed: the reason is for the report. */
export async function whyNoMounts(): Promise<string | undefined> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
  const dir = mkdtempSync(join(tmpdir(), "tradewind-mount-"));
  try {
    await run("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", dir]);
    await run("umount", [dir]);
    return undefined;
  } catch (error) {
    return `cannot mount: ${(error as Error).message.split("\n")[0]}`;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

export interface TmpfsOptions {
  readonly maxFileStoreBytes?: number;
  readonly member?: ClusterMember;
}

/** One server, or three that form a cluster, each on a disk of its own. They go in the end, whatever happens. */
export async function disksOf<D extends Disk>(
  servers: 1 | 3,
  make: (index: number, options: { readonly member?: ClusterMember }) => Promise<D>,
): Promise<AsyncDisposable & { readonly disks: readonly D[]; readonly nats: readonly NatsServer[] }> {
  const places = servers === 1 ? [{}] : (await clusterMembers()).map((member) => ({ member }));
  const made = await Promise.allSettled(places.map((place, index) => make(index, place)));
  const disks = made.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const dispose = async () => void (await Promise.all(disks.map((disk) => disk[Symbol.asyncDispose]())));
  for (const each of made) {
    if (each.status === "fulfilled") continue;
    await dispose();
    throw each.reason as Error;
  }
  return { disks, nats: disks.map(({ server }) => server), [Symbol.asyncDispose]: dispose };
}

/** A server whose store is on a disk in memory of a size. */
export async function tmpfsDisk(bytes: string, options: TmpfsOptions = {}): Promise<TmpfsDisk> {
  const base = mkdtempSync(join(tmpdir(), "tradewind-tmpfs-"));
  const dir = join(base, "disk");
  mkdirSync(dir);
  await run("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", dir]);
  const server = await startDiskServer({ storeDir: dir, runDir: join(base, "run"), ...options });
  return {
    server,
    grow: async (more) => void (await run("mount", ["-o", `remount,size=${more}`, dir])),
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await unmount(dir);
      rmSync(base, { recursive: true, force: true });
    },
  };
}

/** A server whose store is on an ext4 in a file. */
export async function loopDisk(options: { readonly member?: ClusterMember } = {}): Promise<LoopDisk> {
  const base = mkdtempSync(join(tmpdir(), "tradewind-loop-"));
  const [image, dir] = [join(base, "image"), join(base, "disk")];
  mkdirSync(dir);
  await run("truncate", ["-s", LOOP_BYTES, image]);
  await run("mkfs.ext4", ["-q", "-F", image]);
  const mount = () => run("mount", ["-o", "loop", image, dir]);
  await mount();
  const server = await startDiskServer({ storeDir: dir, runDir: join(base, "run"), ...options });
  return {
    server,
    cutPower: async () => {
      // At one moment: a server that went on would answer though its disk is gone.
      server.freeze();
      await run("python3", ["-c", SHUTDOWN_NO_LOG_FLUSH, dir]);
      await server.kill();
      await unmount(dir);
      await mount();
      await server.restart();
    },
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await unmount(dir);
      rmSync(base, { recursive: true, force: true });
    },
  };
}

/** A killed process gives its files back a moment later. */
async function unmount(dir: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return void (await run("umount", [dir]));
    } catch (error) {
      if (attempt >= UMOUNT_TRIES_MAX) throw error;
      await sleep(systemClock, UMOUNT_WAIT_MS);
    }
  }
}
