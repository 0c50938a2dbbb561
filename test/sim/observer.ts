import {
  BundleSchema,
  MarkSchema,
  OutcomeStatus,
  TaskBundleSchema,
} from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { type Clock, sleep } from "../../platform/clock.ts";
import type { MemoryNats } from "../../actors/runtime/bus/bus-memory.ts";
import type { Bus, StoredMessage } from "../../actors/runtime/bus/bus.ts";
import { decode } from "../../actors/runtime/codec/decode.ts";
import type { Topology } from "../../actors/runtime/topology.ts";
import { doubledEntry } from "./list-pages.ts";
import { Fold, type FoldedLog, type Read, type Report, type Version } from "./fold.ts";

/** Name of the connection that sees everything at once, whatever goes wrong for the others. */
export const OBSERVER = "observer";

/** Marks events that somebody has stored a second time. */
const COPY_HEADER = "Sim-Copy";
const COPIES_MAX = 6;
const SERVER_POLL_MS = 20;

/** How far the derived streams of one log have been checked. */
interface Followed {
  markEpoch: bigint;
  markSequence: number;
  replaySequence: number;
  eventMarkSequence: number;
  /** Into the log's changes, causes and events. */
  changes: number;
  causes: number;
  events: number;
}

/** Sees every message of every stream when it is stored, and compares what is derived with the journal. */
export class Observer {
  readonly fold: Fold;
  /** Sequence of the committed version that the bucket holds, by record. */
  readonly projected = new Map<string, number>();
  /** The committed version that each message of the bucket holds, by its sequence there. */
  readonly stored = new Map<number, { readonly name: string; readonly version: Version }>();
  /** Sequence of the newest message of each record in the bucket. */
  readonly newest = new Map<string, number>();
  /** Request ids whose entries are in INBOX, with the time of the first. */
  readonly accepted = new Map<string, number>();
  /** Ids that TASKS, schedules of INBOX and DEAD have seen. */
  readonly tasks = new Set<string>();
  readonly arms = new Set<string>();
  readonly deadLetters = new Set<string>();
  /** Tasks whose definite outcome is in INBOX. */
  readonly done = new Set<string>();
  /** When each event was stored, by `tenant.key.count`; kept where old ones are dropped. */
  readonly eventTimes = new Map<string, number>();
  /** Age that an event may have before it is dropped; Infinity: it never is. */
  eventsAgeMsMax = Infinity;
  readonly #followed = new Map<string, Followed>();
  readonly #nats: MemoryNats;
  readonly #topology: Topology;
  readonly #report: Report;
  readonly #readMessage: Read;
  readonly bus: Bus;
  readonly clock: Clock;
  /** A stream is not what it was: only the journal is followed. */
  isDamaged = false;
  /** Told of each watermark of the bucket. */
  onMark: ((says: string) => void) | undefined;

  constructor(
    nats: MemoryNats,
    topology: Topology,
    clock: Clock,
    report: Report,
    readMessage: Read = decode,
  ) {
    this.#nats = nats;
    this.#topology = topology;
    this.#report = report;
    this.#readMessage = readMessage;
    this.clock = clock;
    this.fold = new Fold(report, readMessage);
    this.bus = nats.connect(OBSERVER);
    const { streams } = topology;
    this.#read(streams.log, (message) => this.fold.onMessage(message));
    this.#derived(streams.actors, (message) => this.#onRecord(message));
    this.#derived(streams.events, (message) => this.#onEvent(message));
    this.#derived(streams.inbox, (message) => this.#onInput(message));
    this.#derived(streams.tasks, (message) => this.#onTask(message));
    this.#derived(streams.dead, (message) => this.#onDeadLetter(message));
  }

  /** J21: schedules go with a store that was full or restored; the records know what was armed. */
  async loseTimers(): Promise<void> {
    await this.#serverRuns();
    await this.bus.purge(this.#topology.streams.inbox, "timer.>");
  }

  /** J15: stores events again that are there, as a restore of a copy does. */
  async copyEvents(): Promise<void> {
    await this.#serverRuns();
    const { streams, filters } = this.#topology;
    const events = await this.bus.range(streams.events, filters.events, 1, COPIES_MAX);
    for (const { subject, data, headers } of events)
      await this.bus.append({ subject, data, headers: { ...headers, [COPY_HEADER]: "1" } });
  }

  /** True if an event may have been dropped by now. */
  mayBeDropped(tenant: string, key: string, count: number): boolean {
    const atMs = this.eventTimes.get(`${tenant}.${key}.${count}`) ?? Infinity;
    return this.clock.nowMs() - atMs >= this.eventsAgeMsMax;
  }

  /** An event that was dropped too early; undefined: none. */
  droppedYoung(): string | undefined {
    const { streams } = this.#topology;
    const held = new Set(this.#nats.inspect(streams.events).map((message) => eventPlace(message)));
    return [...this.eventTimes.keys()].find((place) => {
      const [tenant = "", key = "", count] = place.split(".");
      return !held.has(place) && !this.mayBeDropped(tenant, key, Number(count));
    });
  }

  /** What is still missing before everything derived is as the journal says; undefined: nothing. */
  missing(): string | undefined {
    for (const [name, versions] of this.fold.records) {
      const last = versions.at(-1);
      if (last !== undefined && this.projected.get(name) !== last.sequence)
        return `record ${name} of ${last.sequence} is not in the bucket, ${this.projected.get(name)} is`;
    }
    for (const log of this.fold.logs.values()) {
      const { events } = this.#follow(log.name);
      const next = log.events[events];
      if (next !== undefined) return `event ${log.name} ${next.place} is not in EVENTS`;
    }
    for (const [id, task] of this.fold.tasks)
      if (!this.tasks.has(id) && this.#isOpen(task)) return `task ${id} is not in TASKS`;
    for (const id of this.fold.deadLetters.keys())
      if (!this.deadLetters.has(id)) return `dead letter ${id} is not in DEAD`;
    return undefined;
  }

  #read(stream: string, onMessage: (message: StoredMessage) => void): void {
    this.bus.read({ stream, filters: [">"], from: { sequence: 1 }, onMessage });
  }

  async #serverRuns(): Promise<void> {
    while (!this.bus.isConnected()) await sleep(this.clock, SERVER_POLL_MS);
  }

  #countOf(subject: string): number {
    const letters = this.#nats.inspect(this.#topology.streams.dead);
    return letters.filter((letter) => letter.subject === subject).length;
  }

  #derived(stream: string, onMessage: (message: StoredMessage) => void): void {
    this.#read(stream, (message) => {
      if (!this.isDamaged) onMessage(message);
    });
  }

  #follow(name: string): Followed {
    let followed = this.#followed.get(name);
    if (followed === undefined) {
      followed = {
        markEpoch: 0n,
        markSequence: 0,
        replaySequence: 0,
        eventMarkSequence: 0,
        changes: 0,
        causes: 0,
        events: 0,
      };
      this.#followed.set(name, followed);
    }
    return followed;
  }

  #onRecord({ subject, data, sequence }: StoredMessage): void {
    const name = subject.slice("$KV.actors.".length);
    if (name.startsWith("mark.")) return this.#onMark(name.slice("mark.".length), data);
    const doubled = doubledEntry(this.#readMessage, name, data);
    if (doubled !== undefined) this.#report("lists have each entry once", `${name} has ${doubled} twice`);
    const versions = this.fold.records.get(name) ?? [];
    const before = this.projected.get(name) ?? 0;
    for (let i = versions.length - 1; i >= 0; i--) {
      const version = versions[i];
      if (version === undefined || Buffer.compare(version.bytes, data) !== 0) continue;
      if (version.sequence < before)
        this.#report(
          "J13 records never go back",
          `${name}: ${version.sequence} after ${before} (KV ${sequence})`,
        );
      this.projected.set(name, Math.max(before, version.sequence));
      this.newest.set(name, sequence);
      this.stored.set(sequence, { name, version });
      return;
    }
    this.#report("J7 only committed records are projected", `${name} (KV ${sequence}) was never committed`);
  }

  #onMark(name: string, data: Uint8Array): void {
    const mark = this.#readMessage(MarkSchema, data);
    const log = this.fold.log(name);
    const followed = this.#follow(name);
    const logSequence = Number(mark.logSequence);
    const replaySequence = Number(mark.replaySequence);
    const says = `${name}: epoch ${mark.epoch}, log ${logSequence}, replay ${replaySequence}`;
    this.onMark?.(says);
    if (mark.epoch < followed.markEpoch || logSequence < followed.markSequence)
      this.#report(
        "J13 watermarks never go back",
        `${says} after ${followed.markEpoch}, ${followed.markSequence}`,
      );
    if (mark.epoch > log.epoch || logSequence > log.last || replaySequence > log.last)
      this.#report(
        "J13 watermarks follow the journal",
        `${says}, but the log is at ${log.epoch}, ${log.last}`,
      );
    followed.markEpoch = mark.epoch;
    followed.markSequence = logSequence;
    this.#checkRecords(log, followed, logSequence, says);
    this.#checkCauses(log, followed, replaySequence, says);
  }

  #checkRecords(log: FoldedLog, followed: Followed, until: number, says: string): void {
    for (let next = log.changes[followed.changes]; next !== undefined && next.sequence <= until;) {
      if ((this.projected.get(next.name) ?? 0) < next.sequence)
        this.#report(
          "J13 watermark ahead of a record",
          `${says}: ${next.name} of ${next.sequence} is not stored`,
        );
      next = log.changes[++followed.changes];
    }
  }

  #checkCauses(log: FoldedLog, followed: Followed, until: number, says: string): void {
    for (let next = log.causes[followed.causes]; next !== undefined && next.sequence <= until;) {
      for (const task of next.tasks) {
        if (!this.tasks.has(task.id) && this.#isOpen(task))
          this.#report(
            "J13 watermark ahead of a task",
            `${says}: task ${task.id} of ${next.sequence} is not stored`,
          );
      }
      for (const schedule of next.schedules) {
        if (!this.arms.has(schedule.arm) && this.#isArmed(schedule))
          this.#report(
            "J13 watermark ahead of a timer",
            `${says}: ${schedule.timer} of ${next.sequence} is not stored`,
          );
      }
      for (const { id } of next.deadLetters) {
        if (!this.deadLetters.has(id))
          this.#report(
            "J13 watermark ahead of a dead letter",
            `${says}: ${id} of ${next.sequence} is not stored`,
          );
      }
      next = log.causes[++followed.causes];
    }
  }

  #isOpen({ kind, tenant, key, id }: { kind: string; tenant: string; key: string; id: string }): boolean {
    const version = this.fold.latest(`${kind}.${tenant}.${key}`);
    return (
      version !== undefined && this.fold.meta(version).tasks.some((task) => task.id === id && !task.givenUp)
    );
  }

  #isArmed({ kind, tenant, key, arm }: { kind: string; tenant: string; key: string; arm: string }): boolean {
    const version = this.fold.latest(`${kind}.${tenant}.${key}`);
    return version !== undefined && this.fold.meta(version).timers.some((timer) => timer.arm === arm);
  }

  #onEvent({ subject, data, headers, sequence }: StoredMessage): void {
    if (headers[COPY_HEADER] !== undefined) return;
    if (subject.startsWith("evmark.")) return this.#onEventMark(subject.slice("evmark.".length), data);
    if (this.eventsAgeMsMax < Infinity)
      this.eventTimes.set(eventPlace({ subject, data }) ?? "", this.clock.nowMs());
    const log = this.fold.log(headers["Tw-Log"] ?? "");
    const followed = this.#follow(log.name);
    const expected = log.events[followed.events];
    const place = headers["Tw-Seq"];
    if (expected?.place !== place || Buffer.compare(expected?.event.json ?? new Uint8Array(0), data) !== 0) {
      const detail = `${log.name}: ${place} (EVENTS ${sequence}) where ${expected?.place} comes next`;
      this.#report("EVENTS are those of LOG, in order, each once", detail);
    }
    followed.events++;
  }

  #onEventMark(name: string, data: Uint8Array): void {
    const mark = this.#readMessage(MarkSchema, data);
    const log = this.fold.log(name);
    const followed = this.#follow(name);
    const logSequence = Number(mark.logSequence);
    if (logSequence < followed.eventMarkSequence)
      this.#report(
        "J13 watermarks never go back",
        `events of ${name}: ${logSequence} after ${followed.eventMarkSequence}`,
      );
    followed.eventMarkSequence = logSequence;
    const next = log.events[followed.events];
    if (next !== undefined && next.sequence <= logSequence)
      this.#report(
        "J13 watermark ahead of an event",
        `${name}: ${logSequence}, but ${next.place} is not stored`,
      );
    const last = log.events[followed.events - 1];
    if (last !== undefined && last.sequence > logSequence)
      this.#report(
        "J13 whole commits only",
        `events of ${name}: ${logSequence}, but ${last.place} is stored`,
      );
  }

  #onInput({ subject, data }: StoredMessage): void {
    if (subject.startsWith("timer.")) {
      const arm = subject.slice(subject.lastIndexOf(".") + 1);
      if (!this.fold.arms.has(arm)) this.#report("derived only after its commit", `the schedule ${subject}`);
      this.arms.add(arm);
      return;
    }
    try {
      for (const { source } of this.#readMessage(BundleSchema, data).entries) {
        const id = source.case === "request" ? source.value.id : "";
        if (source.case === "outcome" && source.value.status === OutcomeStatus.DONE)
          this.done.add(source.value.task);
        if (id !== "" && !this.accepted.has(id)) this.accepted.set(id, this.clock.monotonicMs());
      }
    } catch {
      return; // planted poison
    }
  }

  #onTask({ subject, headers, data }: StoredMessage): void {
    const isBundle = headers["Tw-Entries"] !== undefined;
    const ids = isBundle
      ? this.#readMessage(TaskBundleSchema, data).tasks.map(({ id }) => id)
      : [subject.slice(subject.lastIndexOf(".") + 1)];
    for (const id of ids) {
      if (!this.fold.tasks.has(id))
        this.#report("derived only after its commit", `the task ${id} (${subject})`);
      this.tasks.add(id); // as itself, or as the repetition of a first attempt that was made at home
    }
  }

  #onDeadLetter({ subject }: StoredMessage): void {
    const id = subject.slice(subject.lastIndexOf(".") + 1);
    if (!this.fold.deadLetters.has(id))
      this.#report("derived only after its commit", `the dead letter ${subject}`);
    // One that was sent again may come back while its owner does not know that it was stored; the actor takes it once.
    if (this.deadLetters.has(id) && this.#countOf(subject) > 1)
      this.#report("each dead letter once", `${subject} is stored twice`);
    this.deadLetters.add(id);
  }
}

/** `tenant.key.count` of an event of the simulated actor. */
function eventPlace({ subject, data }: Pick<StoredMessage, "subject" | "data">): string | undefined {
  const [first, tenant, , key] = subject.split(".");
  if (first !== "ev") return undefined;
  const { count = 0 } = JSON.parse(Buffer.from(data).toString()) as { count?: number };
  return `${tenant}.${key}.${count}`;
}
