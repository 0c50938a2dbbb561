import type { Clock } from "../../../platform/clock.ts";
import { sleep } from "../../../platform/clock.ts";
import type { Random } from "../../../platform/random.ts";
import {
  CommitKind,
  type Commit,
  type Entry,
  type Trying,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { BatchCombiner } from "./batch-combiner.ts";
import type { Bus } from "../bus/bus.ts";
import { encodeCommit, type StreamNames } from "./draft.ts";
import { takenOf, type InputSource, type Taken } from "./inputs.ts";
import { Journal, decodeCommit, readLogEnd, untilAnswered, type LogEnd } from "./journal.ts";
import { LIMITS } from "../limits.ts";
import type { Topology } from "../topology.ts";
import { Watermark } from "./watermark.ts";

/** What a takeover needs. */
export interface TakeoverOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly topology: Topology;
  readonly group: string;
  readonly log: number;
  readonly workerId: string;
  readonly contracts: string;
  readonly signal: AbortSignal;
  /** Batches of all logs of the worker, by derived stream. */
  readonly combiners: { readonly records: BatchCombiner; readonly events: BatchCombiner };
}

/** A log that now belongs to this owner, as its last message describes it. */
export interface Claimed {
  readonly epoch: bigint;
  readonly journal: Journal;
  readonly recordMark: Watermark;
  readonly eventMark: Watermark;
  readonly streams: StreamNames;
  readonly positions: ReadonlyMap<InputSource, Taken>;
  readonly carry: readonly Entry[];
  /** Takeovers in a row without a commit, this one included. */
  readonly takeovers: number;
  /** The input that its last owner announced and did not survive. */
  readonly poison: Trying | undefined;
  /** Sequence of the own takeover record. */
  readonly sequence: number;
}

/** Something that no retry can mend: the log stands still until an operator acts. */
export class HaltError extends Error {
  override readonly name = "HaltError";
}

/** Input streams of a group by source. */
export function inputStreams(topology: Topology, group: string): ReadonlyMap<InputSource, string> {
  const { inbox, log, events } = topology.streams;
  return topology.group(group).reads === "inbox"
    ? new Map<InputSource, string>([
        ["inbox", inbox],
        ["log", log],
      ])
    : new Map<InputSource, string>([["events", events]]);
}

/**
 * Makes the log ours: appends a takeover record with the next epoch by compare-and-set; from its ack on the last owner
 * cannot commit. Then claims both watermarks, so that it cannot project either.
 * @returns undefined if somebody else was faster
 * @throws HaltError (J3, J4), FencedError
 */
export async function takeOver(options: TakeoverOptions, end: LogEnd): Promise<Claimed | undefined> {
  const { bus, clock, random, topology, group, log, workerId, contracts, signal, combiners } = options;
  const { commit } = end;
  const streams = await readStreams(options);
  const names = { stream: topology.streams.log, subject: topology.log(group, log) };
  let positions;
  try {
    positions = checkedPositions(streams, commit);
  } catch (error) {
    // Another owner may have had the log meanwhile, and the journal been purged up to what that one has read.
    const now = await untilAnswered(clock, signal, () => readLogEnd(bus, names.stream, names.subject));
    if (now?.sequence !== end.sequence) return undefined;
    throw error;
  }
  const journal = new Journal(bus, clock, names, end.sequence, signal);
  const epoch = commit.epoch + 1n;
  const takeovers = commit.takeovers + 1;
  const id = random.id();
  const atMs = clock.nowMs();
  const head = {
    kind: CommitKind.TAKEOVER,
    id,
    epoch,
    owner: workerId,
    positions,
    streams: namesOf(streams),
    takeovers,
    atMs,
    contracts,
  };
  const data = encodeCommit({ ...head, trying: commit.trying }, { carry: commit.carry });
  const outcome = await journal.append(id, data, { "Tw-Kind": "takeover" });
  if (outcome.kind !== "committed") return undefined;
  const markOptions = { bus, clock, random, epoch, signal };
  const recordMark = new Watermark({
    ...markOptions,
    combiner: combiners.records,
    stream: topology.streams.actors,
    subject: topology.mark(group, log),
  });
  const eventMark = new Watermark({
    ...markOptions,
    combiner: combiners.events,
    stream: topology.streams.events,
    subject: topology.eventMark(group, log),
  });
  await Promise.all([recordMark.claim(), eventMark.claim()]);
  const poison = commit.trying; // announced in a crash loop only, and cleared by the next commit
  const { carry } = commit;
  return {
    epoch,
    journal,
    recordMark,
    eventMark,
    streams: namesOf(streams),
    positions,
    carry,
    takeovers,
    poison,
    sequence: outcome.sequence,
  };
}

/** An input stream as it is now. */
export interface StreamState {
  readonly name: string;
  readonly createdAtMs: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
}

async function readStreams({
  bus,
  clock,
  topology,
  group,
  signal,
}: TakeoverOptions): Promise<ReadonlyMap<InputSource, StreamState>> {
  const states = new Map<InputSource, StreamState>();
  for (const [source, name] of inputStreams(topology, group)) {
    const { createdAtMs, firstSequence, lastSequence } = await untilAnswered(clock, signal, () =>
      bus.status(name),
    );
    states.set(source, { name, createdAtMs, firstSequence, lastSequence });
  }
  return states;
}

function namesOf(streams: ReadonlyMap<InputSource, StreamState>): StreamNames {
  return new Map([...streams].map(([source, { name, createdAtMs }]) => [source, { name, createdAtMs }]));
}

/** What a log has read of its input streams. @throws HaltError if they cannot be the ones that it has read (J4) */
export function checkedPositions(
  streams: ReadonlyMap<InputSource, StreamState>,
  commit: Commit,
): ReadonlyMap<InputSource, Taken> {
  const positions = new Map<InputSource, Taken>();
  for (const [source, stream] of streams) {
    const stored = commit.positions.find((position) => position.stream === stream.name);
    const taken = takenOf(stored);
    const createdMs = Number(stored?.streamCreatedMs ?? 0n);
    if (createdMs !== 0 && createdMs !== stream.createdAtMs) {
      throw new HaltError(
        `stream ${stream.name} was created again since this log last read it: re-base the log`,
      );
    }
    if (taken.sequence > stream.lastSequence) {
      throw new HaltError(
        `stream ${stream.name} ends at ${stream.lastSequence}, ` +
          `the log has read up to ${taken.sequence}: re-base the log`,
      );
    }
    if (source === "log" && stream.firstSequence > taken.sequence + 1 && taken.sequence > 0) {
      throw new HaltError(
        `stream ${stream.name} starts at ${stream.firstSequence}, ` +
          `the log has read up to ${taken.sequence}: messages are missing`,
      );
    }
    positions.set(source, taken);
  }
  return positions;
}

/** Reads the log's last message; a log without one was never created. */
export async function logEnd({
  bus,
  topology,
  group,
  log,
}: Pick<TakeoverOptions, "bus" | "topology" | "group" | "log">): Promise<LogEnd> {
  const end = await readLogEnd(bus, topology.streams.log, topology.log(group, log));
  if (end === undefined) throw new HaltError(`log ${group}.${log} has no genesis record: run the bootstrap`);
  return end;
}

/** Commits of one page of replay. */
const REPLAY_PAGE = 256;

/**
 * Hands every commit from the lowest watermark up to the own takeover record to `onCommit`, in order (J18).
 */
export async function replay(
  options: TakeoverOptions,
  claimed: Claimed,
  onCommit: (sequence: number, commit: Commit) => void,
): Promise<void> {
  const { bus, clock, topology, group, log, signal } = options;
  const { recordMark, eventMark, sequence: end } = claimed;
  let next = Math.min(recordMark.logSequence, recordMark.replaySequence, eventMark.logSequence) + 1;
  for (;;) {
    const page = await untilAnswered(clock, signal, () =>
      bus.range(topology.streams.log, topology.log(group, log), next, REPLAY_PAGE),
    );
    for (const message of page) {
      onCommit(message.sequence, decodeCommit(message));
      if (message.sequence >= end) return;
      next = message.sequence + 1;
    }
    if (page.length === 0) {
      signal.throwIfAborted();
      await sleep(clock, LIMITS.retryDelayMs, signal); // a replica that lags
    }
  }
}
