import { fromBinary } from "@bufbuild/protobuf";
import type { Clock } from "../../platform/clock.ts";
import { MarkSchema, type Commit } from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { BusError, type Bus } from "./bus.ts";
import { nextSequence, takenOf } from "./inputs.ts";
import { readLogEnd } from "./journal.ts";
import { LIMITS } from "./limits.ts";
import type { LogOwner } from "./log-owner.ts";
import type { Topology } from "./topology.ts";

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
 * Drops journal messages that nobody needs any more (J2, J3): below every log's position and watermarks, older than a day,
 * never the last message of a log. Any worker may do it.
 */
export async function purgeJournal(bus: Bus, clock: Clock, topology: Topology): Promise<void> {
  await unlessUnanswered(async () => {
    const ends = await readEnds(bus, topology);
    if (ends === undefined) return;
    const needed = Math.min(...ends.map(({ needed }) => needed));
    const young = await firstYoung(bus, topology, clock.nowMs() - LIMITS.logAgeMsMin);
    for (const { subject, sequence } of ends) {
      await bus.purge(topology.streams.log, subject, Math.min(needed, young, sequence));
    }
  });
}

interface End {
  readonly subject: string;
  /** Of the log's last message. */
  readonly sequence: number;
  /** First sequence of LOG that this log may still read. */
  readonly needed: number;
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
        const { logSequence, replaySequence } = fromBinary(MarkSchema, stored.data);
        return Number(stored === mark && replaySequence < logSequence ? replaySequence : logSequence);
      });
      const position = logPosition(topology, end.commit);
      ends.push({
        subject,
        sequence: end.sequence,
        needed: Math.min(position, ...marks.map((sequence) => sequence + 1)),
      });
    }
  }
  return ends;
}

function logPosition(topology: Topology, commit: Commit): number {
  const position = commit.positions.find(({ stream }) => stream === topology.streams.log);
  return position === undefined ? Infinity : nextSequence(takenOf(position));
}

/** The first message of LOG that was stored after `sinceMs`, by bisection. */
async function firstYoung(bus: Bus, topology: Topology, sinceMs: number): Promise<number> {
  const stream = topology.streams.log;
  const { firstSequence, lastSequence } = await bus.status(stream);
  let low = firstSequence;
  let high = lastSequence + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const [message] = await bus.range(stream, topology.filters.logs, middle, 1);
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
