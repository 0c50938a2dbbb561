import {
  CommitKind,
  CommitSchema,
  type Commit,
  type DeadLetter,
  type Event,
  type Position,
  type Record as RecordMessage,
  RecordSchema,
  type Schedule,
  type Task,
} from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { type SimState, SimStateSchema } from "../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import type { StoredMessage } from "../../actors/runtime/bus/bus.ts";
import { decode } from "../../actors/runtime/codec/decode.ts";

/** Says which invariant is broken, and how. */
export type Report = (invariant: string, detail: string) => void;

/** Reads a message: the runtime's decoder, or protobuf's own. */
export type Read = typeof decode;

/** One committed version of a record. */
export interface Version {
  readonly sequence: number;
  /** When it was stored. */
  readonly atMs: number;
  readonly bytes: Uint8Array;
}

/** What one commit has caused beside records. */
export interface Causes {
  readonly sequence: number;
  readonly tasks: readonly Task[];
  readonly schedules: readonly Schedule[];
  readonly deadLetters: readonly DeadLetter[];
}

/** An event of a commit, with its place. */
export interface PlacedEvent {
  readonly place: string;
  readonly sequence: number;
  readonly event: Event;
}

/** One log as its messages tell. */
export class FoldedLog {
  readonly name: string;
  epoch = 0n;
  owner = "";
  last = 0;
  lastKind: CommitKind = CommitKind.UNSPECIFIED;
  carried = 0;
  commits = 0;
  /** Commits of nothing but positions. */
  idleCommits = 0;
  positions: readonly Position[] = [];
  /** Names of changed records, in log order. */
  readonly changes: { readonly sequence: number; readonly name: string }[] = [];
  readonly causes: Causes[] = [];
  readonly events: PlacedEvent[] = [];

  constructor(name: string) {
    this.name = name;
  }
}

/**
 * The journal read by somebody who knows nothing of owners: what is committed, and whether each log is one story.
 * Written apart from the runtime's own replay, to be compared with it.
 */
export class Fold {
  readonly logs = new Map<string, FoldedLog>();
  /** By `kind.tenant.key`, oldest version first. */
  readonly records = new Map<string, Version[]>();
  /** Ids of what was committed. */
  readonly tasks = new Map<string, Task>();
  readonly arms = new Set<string>();
  readonly deadLetters = new Map<string, DeadLetter>();
  /** Log sequence of the commit that has it, by the letter's id. */
  readonly letterSequences = new Map<string, number>();
  /** Inputs that were announced in a crash loop. */
  announced = 0;
  readonly #commitIds = new Set<string>();
  readonly #decoded = new WeakMap<Version, { meta: RecordMessage; state: SimState | undefined }>();
  readonly #report: Report;
  readonly #readMessage: Read;

  constructor(report: Report, readMessage: Read = decode) {
    this.#report = report;
    this.#readMessage = readMessage;
  }

  onMessage(message: StoredMessage): void {
    const name = message.subject.slice("log.".length);
    const log = this.log(name);
    const commit = this.#readMessage(CommitSchema, message.data);
    if (this.#commitIds.has(commit.id))
      this.#report("J10 one commit once", `${name}: ${commit.id} is stored twice`);
    this.#commitIds.add(commit.id);
    this.#checkOwner(log, commit, message.sequence);
    this.#checkPositions(log, commit, message.sequence);
    log.last = message.sequence;
    log.lastKind = commit.kind;
    log.positions = commit.positions;
    log.carried = commit.carry.length;
    log.commits++;
    if (commit.kind === CommitKind.POSITION) log.idleCommits++;
    if (commit.kind === CommitKind.TRYING) this.announced++;
    this.#take(log, commit, message);
  }

  log(name: string): FoldedLog {
    let log = this.logs.get(name);
    if (log === undefined) this.logs.set(name, (log = new FoldedLog(name)));
    return log;
  }

  latest(name: string): Version | undefined {
    return this.records.get(name)?.at(-1);
  }

  meta(version: Version): RecordMessage {
    return this.#decode(version).meta;
  }

  /** State of a record of the simulated actor. */
  state(version: Version): SimState {
    const decoded = this.#decode(version);
    return (decoded.state ??= this.#readMessage(SimStateSchema, decoded.meta.state));
  }

  #decode(version: Version) {
    let decoded = this.#decoded.get(version);
    if (decoded === undefined) {
      decoded = { meta: this.#readMessage(RecordSchema, version.bytes), state: undefined };
      this.#decoded.set(version, decoded);
    }
    return decoded;
  }

  #checkOwner(log: FoldedLog, commit: Commit, sequence: number): void {
    const at = `${log.name}@${sequence}`;
    if (log.last === 0) {
      if (commit.kind !== CommitKind.GENESIS) this.#report("J3 genesis first", `${at} is no genesis record`);
    } else if (commit.kind === CommitKind.TAKEOVER) {
      if (commit.epoch !== log.epoch + 1n)
        this.#report("one owner per epoch", `${at} takes epoch ${commit.epoch} after ${log.epoch}`);
    } else {
      const owner = commit.kind === CommitKind.HANDOVER ? "" : commit.owner;
      const isOwners = commit.kind === CommitKind.HANDOVER || owner === log.owner;
      if (commit.epoch !== log.epoch || !isOwners || log.lastKind === CommitKind.HANDOVER)
        this.#report(
          "one owner per epoch",
          `${at}: ${owner} commits to epoch ${commit.epoch} of ${log.owner}`,
        );
    }
    log.epoch = commit.epoch;
    log.owner = commit.owner;
  }

  #checkPositions(log: FoldedLog, commit: Commit, sequence: number): void {
    for (const before of log.positions) {
      const after = commit.positions.find(({ stream }) => stream === before.stream);
      if (after !== undefined && !isBehind(after, before)) continue;
      const show = (p: Position | undefined) => p && `${p.sequence}+${p.taken}${p.whole ? " whole" : ""}`;
      const detail = `${log.name}@${sequence}: ${before.stream} from ${show(before)} to ${show(after)}`;
      this.#report("positions never go back", detail);
    }
  }

  #take(log: FoldedLog, commit: Commit, { sequence, timestampMs: atMs }: StoredMessage): void {
    for (const { kind, tenant, key, record: bytes } of commit.records) {
      const name = `${kind}.${tenant}.${key}`;
      const versions = this.records.get(name);
      const version = { sequence, atMs, bytes };
      if (versions === undefined) this.records.set(name, [version]);
      else versions.push(version);
      log.changes.push({ sequence, name });
    }
    const { tasks, schedules, deadLetters } = commit;
    for (const task of tasks) {
      if (this.tasks.has(task.id))
        this.#report("J6 ids are unique", `${log.name}@${sequence}: task ${task.id} again`);
      this.tasks.set(task.id, task);
    }
    for (const { arm } of schedules) {
      if (this.arms.has(arm)) this.#report("J6 ids are unique", `${log.name}@${sequence}: arm ${arm} again`);
      this.arms.add(arm);
    }
    for (const letter of deadLetters) {
      if (this.deadLetters.has(letter.id))
        this.#report("J6 ids are unique", `dead letter ${letter.id} again`);
      this.deadLetters.set(letter.id, letter);
      this.letterSequences.set(letter.id, sequence);
    }
    if (tasks.length + schedules.length + deadLetters.length > 0)
      log.causes.push({ sequence, tasks, schedules, deadLetters });
    commit.events.forEach((event, index) =>
      log.events.push({ place: `${sequence}.${index}`, sequence, event }),
    );
  }
}

function isBehind(a: Position, b: Position): boolean {
  if (a.sequence !== b.sequence) return a.sequence < b.sequence;
  if (a.whole !== b.whole) return b.whole;
  return !a.whole && a.taken < b.taken;
}
