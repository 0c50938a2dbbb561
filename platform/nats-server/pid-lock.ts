import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";

/** A process that cannot be confused with a later one of the same number. */
export interface ProcessMark {
  readonly pid: number;
  /** When it started, in the system's own form; empty where the system does not tell. */
  readonly start: string;
}

/** What a lock file holds, as JSON. */
export interface LockHolder extends ProcessMark {
  /** A process that must be gone too before the lock counts as free, such as a server that was started. */
  readonly child?: ProcessMark;
  /** Who ends the child when the holder dies. */
  readonly keeper?: ProcessMark;
}

/** Somebody living has the lock. */
export class LockHeldError extends Error {
  override readonly name = "LockHeldError";
  readonly holder: LockHolder;

  constructor(path: string, holder: LockHolder) {
    super(`${path} is held by process ${holder.pid}`);
    this.holder = holder;
  }
}

export interface PidLock {
  /** Records a child that belongs to the lock, or with undefined that there is none. */
  setChild(child: ProcessMark | undefined, keeper?: ProcessMark): void;
  /** Frees the lock if it is still ours. Safe to call twice. */
  release(): void;
}

/** Taking over a stale lock is a few system calls; a marker older than this was left by a dead process. */
const TAKEOVER_MS_MAX = 10_000;
const ATTEMPTS_MAX = 50;

/** The mark of a living process, or undefined when there is none (a zombie counts as none). */
export function markProcess(pid: number): ProcessMark | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return undefined;
  }
  const start = startOf(pid);
  return start === null ? undefined : { pid, start };
}

/** Whether the very process of the mark still runs. */
export function isRunning({ pid, start }: ProcessMark): boolean {
  const seen = markProcess(pid);
  return seen !== undefined && (start === "" || seen.start === "" || seen.start === start);
}

/** Start time, "" if unknown, null if the process is dead or a zombie. */
function startOf(pid: number): string | null {
  if (process.platform === "win32") return "";
  try {
    if (process.platform !== "linux") {
      return execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).trim();
    }
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in parentheses may hold anything; state is the 1st and start time the 20th field after it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? null : (fields[19] ?? "");
  } catch {
    return null;
  }
}

/** The holder a lock file names, or undefined when the file is absent or unreadable. */
export function readLock(path: string): LockHolder | undefined {
  try {
    const holder = JSON.parse(readFileSync(path, "utf8")) as Partial<LockHolder>;
    return typeof holder.pid === "number" && typeof holder.start === "string"
      ? (holder as LockHolder)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the holder or its child lives. */
export function isHeld(holder: LockHolder): boolean {
  return isRunning(holder) || (holder.child !== undefined && isRunning(holder.child));
}

/**
 * Takes a lock file for this process, or takes it over when nobody of its holders lives. The file appears with its
 * whole content at once (hard link), so no reader ever sees half of it.
 * @throws LockHeldError when a living process has it, this one included.
 */
export function acquirePidLock(path: string): PidLock {
  const mine = markProcess(process.pid) ?? { pid: process.pid, start: "" };
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (create(path, mine)) return lockOf(path, mine);
    const holder = readLock(path);
    if (holder !== undefined && isHeld(holder)) throw new LockHeldError(path, holder);
    removeStale(path, holder);
  }
  throw new Error(`${path} cannot be taken: too many processes want it at once, try again`);
}

function lockOf(path: string, mine: ProcessMark): PidLock {
  const isOurs = () => {
    const holder = readLock(path);
    return holder !== undefined && holder.pid === mine.pid && holder.start === mine.start;
  };
  return {
    setChild: (child, keeper) => {
      const next = `${path}.${randomUUID()}`;
      const parts = {
        ...(child === undefined ? {} : { child }),
        ...(keeper === undefined ? {} : { keeper }),
      };
      writeFileSync(next, JSON.stringify({ ...mine, ...parts }));
      renameSync(next, path);
    },
    release: () => {
      if (isOurs()) rmSync(path, { force: true });
    },
  };
}

function create(path: string, holder: LockHolder): boolean {
  const next = `${path}.${randomUUID()}`;
  writeFileSync(next, JSON.stringify(holder));
  try {
    linkSync(next, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(next, { force: true });
  }
}

/** Only one process at a time may remove, and only what it saw: otherwise it would remove a fresh lock. */
function removeStale(path: string, seen: LockHolder | undefined): void {
  const marker = `${path}.takeover`;
  if (!create(marker, { pid: process.pid, start: "" })) {
    const ageMs = Date.now() - (statSync(marker, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (ageMs > TAKEOVER_MS_MAX) rmSync(marker, { force: true });
    return;
  }
  try {
    const now = readLock(path);
    if (now?.pid === seen?.pid && now?.start === seen?.start && (now === undefined || !isHeld(now))) {
      rmSync(path, { force: true });
    }
  } finally {
    rmSync(marker, { force: true });
  }
}
