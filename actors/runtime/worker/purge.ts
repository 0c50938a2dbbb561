import type { Clock } from "../../../platform/clock.ts";
import { MarkSchema, type Commit } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { BusError, type Bus } from "../bus/bus.ts";
import { nextSequence, takenOf } from "../log/inputs.ts";
import { readLogEnd } from "../log/journal.ts";
import { LIMITS } from "../limits.ts";
import type { LogOwner } from "../log/log-owner.ts";
import type { Topology } from "../topology.ts";
import { decode } from "../codec/decode.ts";

/** Drops what a log's committed position has passed in INBOX; timers that wait are other subjects and stay (J19). */
export async function purgeInbox(
  bus: Bus,
  topology: Topology,
  group: string,
  owner: LogOwner,
): Promise<void> {
  const taken = owner.committed("inbox");
  if (taken === undefined || taken.sequence === 0) return;
  await unlessUnanswered(() =>
    bus.purge(topology.streams.inbox, topology.inbox(group, owner.log), nextSequence(taken)),
  );
}

/**
 * Drops journal messages that nobody needs any more (J2, J3): below every log's position and watermarks, older than
 * a day (any age when space runs out, J24), never the last message of a log. Any worker may do it.
 */
export async function purgeJournal(
  bus: Bus,
  clock: Clock,
  topology: Topology,
  isAgeWaived: boolean,
): Promise<void> {
  await unlessUnanswered(async () => {
    const ends = await readEnds(bus, topology);
    if (ends === undefined) return;
    const unread = Math.min(...ends.map(({ position }) => position));
    const { streams, filters } = topology;
    const sinceMs = clock.nowMs() - LIMITS.logAgeMsMin;
    const young = isAgeWaived ? Infinity : await firstYoung(bus, streams.log, filters.logs, sinceMs);
    for (const { subject, sequence, unprojected } of ends) {
      await bus.purge(streams.log, subject, Math.min(unread, unprojected, young, sequence));
    }
  });
}

interface End {
  readonly subject: string;
  /** Of the log's last message. */
  readonly sequence: number;
  /** First sequence that this log has not read of the other logs. */
  readonly position: number;
  /** First of its own sequences that a new owner would replay. */
  readonly unprojected: number;
}

/** Undefined if a log was never created: then nothing is known to be unneeded. */
async function readEnds(bus: Bus, topology: Topology): Promise<readonly End[] | undefined> {
  const ends: End[] = [];
  for (const { name: group, logs } of topology.groups) {
    for (let log = 0; log < logs; log++) {
      const subject = topology.log(group, log);
      const end = await readLogEnd(bus, topology.streams.log, subject);
      if (end === undefined) return undefined;
      const mark = await bus.last(topology.streams.actors, topology.mark(group, log));
      const eventMark = await bus.last(topology.streams.events, topology.eventMark(group, log));
      const marks = [mark, eventMark].map((stored) => {
        if (stored === undefined) return 0;
        const { logSequence, replaySequence } = decode(MarkSchema, stored.data);
        return Number(stored === mark && replaySequence < logSequence ? replaySequence : logSequence);
      });
      const position = logPosition(topology, end.commit);
      ends.push({
        subject,
        sequence: end.sequence,
        position,
        unprojected: Math.min(...marks) + 1,
      });
    }
  }
  return ends;
}

function logPosition(topology: Topology, commit: Commit): number {
  const position = commit.positions.find(({ stream }) => stream === topology.streams.log);
  return position === undefined ? Infinity : nextSequence(takenOf(position));
}

/** Drops events that are older than that and that every projection has read (J15); watermarks stay. */
export async function purgeEvents(
  bus: Bus,
  clock: Clock,
  topology: Topology,
  ageMsMax: number,
): Promise<void> {
  await unlessUnanswered(async () => {
    const { streams, filters, groups } = topology;
    const readers = groups.filter(({ reads }) => reads === "events");
    let unread = Infinity;
    for (const { name: group, logs } of readers) {
      for (let log = 0; log < logs; log++) {
        const end = await readLogEnd(bus, streams.log, topology.log(group, log));
        const position = end?.commit.positions.find(({ stream }) => stream === streams.events);
        if (position === undefined) return; // nobody knows what it has read
        unread = Math.min(unread, nextSequence(takenOf(position)));
      }
    }
    const young = await firstYoung(bus, streams.events, filters.events, clock.nowMs() - ageMsMax);
    await bus.purge(streams.events, filters.events, Math.min(unread, young));
  });
}

/** The first message of a stream that was stored after `sinceMs`, by bisection. */
async function firstYoung(bus: Bus, stream: string, filter: string, sinceMs: number): Promise<number> {
  const { firstSequence, lastSequence } = await bus.status(stream);
  let low = firstSequence;
  let high = lastSequence + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const [message] = await bus.range(stream, filter, middle, 1);
    if (message === undefined || message.timestampMs >= sinceMs) high = middle;
    else low = message.sequence + 1;
  }
  return low;
}

/** The next round does what this one could not. */
async function unlessUnanswered(run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
  }
}
