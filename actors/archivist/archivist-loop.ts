import { type Clock, sleep } from "../../platform/clock.ts";
import type { Logger } from "../../platform/log.ts";
import { archiveOrders, type ArchivistDeps } from "./archivist.ts";

export interface ArchivistLoopOptions extends ArchivistDeps {
  readonly log: Logger;
  /** Orders whose last change is at least so old leave. */
  readonly ageMs: number;
  /** Asked before each run: one process of many does the work. */
  readonly isMine: () => boolean;
  readonly onArchived: (orders: number) => void;
}

/** A loop that runs. */
export interface ArchivistLoop {
  /** Resolves when its run under way has ended, between two steps. */
  stop(): Promise<void>;
}

const EVERY_MS = 3_600_000;
/** Not at once: a process that has just started has other things to do. */
const FIRST_AFTER_MS = 60_000;
const REST_MS = 200;

/** Archives the old orders of all tenants once an hour. */
export function startArchivist(options: ArchivistLoopOptions): ArchivistLoop {
  const abort = new AbortController();
  const ended = loop(options, abort.signal);
  return {
    stop: async () => {
      abort.abort();
      await ended;
    },
  };
}

async function loop(options: ArchivistLoopOptions, signal: AbortSignal): Promise<void> {
  const { clock, log, isMine } = options;
  for (let waitMs = FIRST_AFTER_MS; await rested(clock, waitMs, signal); waitMs = EVERY_MS) {
    try {
      if (isMine()) await archiveAll(options, signal);
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, "archiving stopped, the next run takes it up");
    }
  }
}

async function archiveAll(options: ArchivistLoopOptions, signal: AbortSignal): Promise<void> {
  const { client, ageMs, log, onArchived } = options;
  for (const tenant of await client.tenantsOf("orders")) {
    const run = await archiveOrders(options, tenant, { ageMs, restMs: REST_MS, signal });
    onArchived(run.archived);
    if (run.archived > 0) log.info({ tenant, ...run }, "orders archived");
    if (signal.aborted) return;
  }
}

/** False if the time was cut short. */
async function rested(clock: Clock, delayMs: number, signal: AbortSignal): Promise<boolean> {
  await sleep(clock, delayMs, signal);
  return !signal.aborted;
}
