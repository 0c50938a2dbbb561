import { execFileSync } from "node:child_process";
import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { cpus, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";

/** What the figures were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  /** Median of some syncs of one small write below TMPDIR, where the servers' data are. */
  readonly syncMs: number;
}

export function thisMachine(): Machine {
  const [cpu] = cpus();
  return {
    cpu: cpu?.model ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
    system: `${process.platform} ${release()}`,
    syncMs: medianSyncMs(),
  };
}

const SYNCS = 25;
const SYNC_BYTES = 4_096;

function medianSyncMs(): number {
  const folder = mkdtempSync(join(tmpdir(), "tradewind-sync-"));
  const file = openSync(join(folder, "file"), "w");
  try {
    const block = Buffer.alloc(SYNC_BYTES, 1);
    const times = Array.from({ length: SYNCS }, () => {
      const startMs = performance.now();
      writeSync(file, block);
      fsyncSync(file);
      return performance.now() - startMs;
    });
    const middle = times.toSorted((a, b) => a - b)[Math.floor(SYNCS / 2)] ?? 0;
    return Math.round(middle * 1_000) / 1_000;
  } finally {
    closeSync(file);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Load average of the last minute: what else the machine was doing. */
export function loadAverage(): number {
  return Math.round((loadavg()[0] ?? 0) * 100) / 100;
}

/** CPU seconds of the whole machine since its start; 0 where that cannot be read. */
export function machineCpuSeconds(): number {
  const [head = ""] = readText("/proc/stat").split("\n");
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = head.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / 100;
}

/** Memory of one process in bytes, shared pages divided among those that share them; 0 if it cannot be read. */
export function pssOf(pid: number): number {
  const [, kibibytes = "0"] = /^Pss:\s+(\d+) kB/m.exec(readText(`/proc/${pid}/smaps_rollup`)) ?? [];
  return Number(kibibytes) * 1_024;
}

/** Name of the commit, with a mark when files differ from it. */
export function commitName(): string {
  try {
    const git = (...args: string[]) => execFileSync("git", args, { encoding: "utf8" }).trim();
    const isDirty = git("status", "--porcelain", "--untracked-files=no") !== "";
    return `${git("rev-parse", "--short", "HEAD")}${isDirty ? "+changes" : ""}`;
  } catch {
    return "unknown";
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // not Linux, or it has ended
  }
}
