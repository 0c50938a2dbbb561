import { sleep, type Clock } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import type { ActorDefinition } from "../actor.ts";
import type { ProjectionDefinition } from "../projection.ts";
import { Applier } from "./applier.ts";
import { CrashGuard } from "./crash-guard.ts";
import { Derived } from "./derived.ts";
import { InputQueue, type Input } from "./inputs.ts";
import type { JournalRoom } from "./journal-room.ts";
import { LIMITS } from "../limits.ts";
import { LocalTasks, type TaskRunner } from "./local-tasks.ts";
import { EventProjector, RecordProjector } from "./projector.ts";
import { type CacheOptions, RecordStore } from "./record-store.ts";
import { isArmed } from "./restore.ts";
import type { Claimed, TakeoverOptions } from "./takeover.ts";
import type { Turn } from "./turn.ts";

/** What one owner of one log needs. */
export interface LogOwnerOptions extends TakeoverOptions, CacheOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly actors: ReadonlyMap<string, ActorDefinition>;
  readonly projections: readonly ProjectionDefinition[];
  /** Aborting it ends the owner at once, without a hand-over. */
  readonly abort: AbortController;
  readonly hasOtherBuild: () => boolean;
  /** Asked for an rpc that this build does not know; true if another one does and will take the log. */
  readonly isLeftToOthers: (kind: string, method: string) => boolean;
  /** The worker's lease: monotonic times of its last acked renewal, and since when it has not run out. */
  readonly lease: { readonly renewedSentMs: number; readonly unbrokenSinceMs: number };
  /** Shared by the logs of the worker. */
  readonly turn: Turn;
  readonly room: JournalRoom;
  /** Makes the first attempts of the log's tasks in this process. */
  readonly tasks?: TaskRunner;
  /** Called when an entry went to the dead letters. */
  readonly onDeadLetter: (kind: string, reason: string) => void;
}

/** What an owner hears from its parts. */
export interface OwnerHooks {
  readonly push: (input: Input) => void;
  readonly onLoaded: () => void;
  readonly onProjected: () => void;
  readonly onError: (error: unknown) => void;
}

/** What an owner works with; all of it dies with its claim. */
export interface OwnerParts {
  readonly queue: InputQueue;
  readonly guard: CrashGuard;
  readonly store: RecordStore;
  readonly applier: Applier;
  readonly derived: Derived;
  readonly records: RecordProjector;
  readonly events: EventProjector;
  /** Where the process makes first attempts of tasks. */
  readonly local: LocalTasks | undefined;
}

/** Makes the parts of an owner and joins them. */
export function ownerParts(options: LogOwnerOptions, claimed: Claimed, hooks: OwnerHooks): OwnerParts {
  const { bus, clock, topology, group, log, actors, projections, abort, recordsCachedMax } = options;
  const { hasOtherBuild, isLeftToOthers, tasks: runner } = options;
  const { signal } = abort;
  const { onError, onLoaded, onProjected, push } = hooks;
  const lastCommit = () => claimed.journal.last;
  const base = { bus, clock, topology, group, log, signal, recordsCachedMax };
  const guard = new CrashGuard(options.workerId, claimed.streams, claimed.takeovers, claimed.poison);
  const ackedMark = () => claimed.recordMark.revision;
  const store = new RecordStore({ ...base, ackedMark, onLoaded });
  const derived = new Derived({
    ...base,
    isArmed: (schedule) => isArmed(store, schedule),
    onLettersStored: () => records.wake(),
  });
  const storedThrough = (last: number) => Math.min(last, derived.storedThrough(last));
  const mark = claimed.recordMark;
  const records = new RecordProjector({
    ...base,
    mark,
    onError,
    store,
    lastCommit,
    storedThrough,
    onProjected,
  });
  const incarnation = ([...claimed.streams.values()][0]?.createdAtMs ?? 0).toString(36);
  return {
    queue: new InputQueue(claimed.positions),
    guard,
    store,
    derived,
    local: runner && new LocalTasks({ runner, clock, topology, push }),
    records,
    events: new EventProjector({ ...base, mark: claimed.eventMark, onError, lastCommit }),
    applier: new Applier({
      topology,
      group,
      log,
      incarnation,
      actors,
      projections,
      store,
      isPoison: (source, sequence, index) => guard.meetsPoison(source, sequence, index),
      hasOtherBuild,
      isLeftToOthers,
    }),
  };
}

/** A projection group commits some times a second: its records are hot, and each commit holds them all. */
export async function restBehindCommit(options: LogOwnerOptions, waiting: number): Promise<void> {
  const { topology, group, clock, abort } = options;
  const isBehind = waiting >= LIMITS.commitEntriesMax;
  if (topology.group(group).reads === "events" && !isBehind)
    await sleep(clock, LIMITS.projectionDelayMs, abort.signal);
}
