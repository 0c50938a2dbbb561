import type { Commit, Schedule } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Derived } from "./derived.ts";
import type { EventProjector } from "./projector.ts";
import type { RecordStore } from "./record-store.ts";
import { replay, type Claimed, type TakeoverOptions } from "./takeover.ts";

/**
 * Fills a new owner's memory from the journal and derives again what the one before may have left: records and events
 * behind their watermarks, tasks and timers that are still open at the end, dead letters.
 */
export async function restoreLog(
  options: TakeoverOptions,
  claimed: Claimed,
  store: RecordStore,
  events: EventProjector,
  derived: Derived,
): Promise<void> {
  const { recordMark, eventMark } = claimed;
  const causes: { readonly sequence: number; readonly commit: Commit }[] = [];
  await replay(options, claimed, (sequence, commit) => {
    for (const { kind, tenant, key, record: bytes } of commit.records) {
      const record = store.get({ kind, tenant, key }) ?? store.add({ kind, tenant, key });
      record.committed = bytes;
      record.changedAt = sequence;
      record.rollback();
      if (sequence > recordMark.logSequence) store.markDirty(record, sequence);
    }
    if (sequence > eventMark.logSequence) events.add(sequence, commit.events);
    if (sequence <= recordMark.replaySequence) return; // stored: a letter may have been dealt with since
    const { tasks, schedules, deadLetters } = commit;
    if (tasks.length + schedules.length + deadLetters.length > 0) causes.push({ sequence, commit });
  });
  for (const { sequence, commit } of causes) {
    const tasks = commit.tasks.filter((task) => isOpen(store, task));
    const schedules = commit.schedules.filter((schedule) => isArmed(store, schedule));
    derived.add(sequence, tasks, schedules, commit.deadLetters, { attempts: 1 });
  }
}

interface Addressed {
  readonly kind: string;
  readonly tenant: string;
  readonly key: string;
}

function metaOf(store: RecordStore, { kind, tenant, key }: Addressed) {
  return store.get({ kind, tenant, key })?.committedMeta();
}

function isOpen(store: RecordStore, task: Addressed & { readonly id: string }): boolean {
  return metaOf(store, task)?.tasks.some((open) => open.id === task.id && !open.givenUp) ?? false;
}

/** True if the committed record has the timer armed, or is not in memory to say. */
export function isArmed(store: RecordStore, schedule: Schedule): boolean {
  const { kind, tenant, key, arm } = schedule;
  const record = store.get({ kind, tenant, key });
  if (record === undefined) return true;
  return record.committedMeta()?.timers.some((timer) => timer.arm === arm) ?? false;
}
