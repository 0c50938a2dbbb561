import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { sleep, systemClock } from "../../../platform/clock.ts";
import type { NatsServer } from "../../../platform/nats-server/index.ts";
import { startDiskServer } from "./disk-server.ts";

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

/** A server whose store is on a disk in memory of a size. */
export async function tmpfsDisk(bytes: string, maxFileStoreBytes?: number): Promise<TmpfsDisk> {
  const base = mkdtempSync(join(tmpdir(), "tradewind-tmpfs-"));
  const dir = join(base, "disk");
  mkdirSync(dir);
  await run("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", dir]);
  const limit = maxFileStoreBytes === undefined ? {} : { maxFileStoreBytes };
  const server = await startDiskServer({ storeDir: dir, runDir: join(base, "run"), ...limit });
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
export async function loopDisk(): Promise<LoopDisk> {
  const base = mkdtempSync(join(tmpdir(), "tradewind-loop-"));
  const [image, dir] = [join(base, "image"), join(base, "disk")];
  mkdirSync(dir);
  await run("truncate", ["-s", LOOP_BYTES, image]);
  await run("mkfs.ext4", ["-q", "-F", image]);
  const mount = () => run("mount", ["-o", "loop", image, dir]);
  await mount();
  const server = await startDiskServer({ storeDir: dir, runDir: join(base, "run") });
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
