import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Clock, sleep } from "../clock.ts";
import type { Logger } from "../log.ts";
import { acquirePidLock, isRunning, LockHeldError, type PidLock } from "./pid-lock.ts";

/** The guardian of a killed process stops its server within its own limit of 5 s. */
const ORPHAN_WAIT_MS_MAX = 8_000;
const POLL_MS = 50;

/** Two servers on one folder would destroy it. */
export class StoreInUseError extends Error {
  override readonly name = "StoreInUseError";
  /** EX_TEMPFAIL of sysexits. */
  readonly exitCode = 75;
  readonly pid: number;

  constructor(dataDir: string, pid: number) {
    super(`${dataDir} is in use by process ${pid}: stop that one, or choose another data folder`);
    this.pid = pid;
  }
}

export function storeLockPath(dataDir: string): string {
  return join(dataDir, "tradewind.lock");
}

/**
 * Takes the data folder for this process. When its last owner was killed, waits for that one's server to be stopped;
 * a server whose guardian was killed too is ended here.
 * @throws StoreInUseError when a living process owns it.
 */
export async function lockStore(dataDir: string, clock: Clock, log: Logger): Promise<PidLock> {
  mkdirSync(dataDir, { recursive: true });
  const killAtMs = clock.monotonicMs() + ORPHAN_WAIT_MS_MAX;
  for (;;) {
    try {
      return acquirePidLock(storeLockPath(dataDir));
    } catch (error) {
      if (!(error instanceof LockHeldError)) throw error;
      const { holder } = error;
      if (isRunning(holder)) throw new StoreInUseError(dataDir, holder.pid);
      const isKept = holder.keeper !== undefined && isRunning(holder.keeper);
      if (holder.child !== undefined && (!isKept || clock.monotonicMs() > killAtMs)) {
        log.warn({ pid: holder.child.pid, dataDir }, "ending a nats-server whose owner is gone");
        if (isRunning(holder.child)) process.kill(holder.child.pid, "SIGKILL");
      }
      await sleep(clock, POLL_MS);
    }
  }
}
