import type { Clock, TimerHandle } from "../../../platform/clock.ts";
import { assert } from "../assert.ts";
import type { Append, AppendOutcome, Headers, StoredMessage, StreamStatus } from "./bus.ts";
import type { StreamPlan } from "./stream-plan.ts";
import { createMatcher, isWildcard } from "./subject-match.ts";

/** What a stored message costs beside its subject, headers and data, as the file store counts it. */
const RECORD_BYTES = 30;
/** Changes that a follower may be behind. */
const CHANGES_KEPT_MAX = 256;
const HOLES_KEPT_MAX = 1_024;

interface Slot {
  readonly message: StoredMessage;
  readonly bytes: number;
  readonly target: string | undefined;
  readonly timer: TimerHandle | undefined;
}

interface Change {
  readonly subject: string;
  /** The newest message of the subject before the change. */
  readonly before: StoredMessage | undefined;
  /** Part of a batch whose last change is still to come: replicas apply batches whole. */
  isJoined: boolean;
}

/** One stream of the memory model: what is stored, by which rules. Time is the server's clock. */
export class MemoryStream {
  createdAtMs: number;
  readonly #clock: Clock;
  readonly #onFire: (stream: MemoryStream, message: StoredMessage, target: string) => void;
  readonly #listeners = new Set<() => void>();
  readonly #bySubject = new Map<string, number[]>();
  readonly #ids = new Map<string, { readonly sequence: number; readonly atMs: number }>();
  readonly #takes: (subject: string) => boolean;
  /** Slot i holds sequence base + i. */
  #slots: (Slot | undefined)[] = [];
  #base = 1;
  /** Holes in front, cut off from time to time. */
  #holes = 0;
  #messages = 0;
  #bytes = 0;
  #changes: Change[] = [];
  #plan: StreamPlan;

  constructor(
    plan: StreamPlan,
    clock: Clock,
    onFire: (stream: MemoryStream, message: StoredMessage, target: string) => void,
  ) {
    this.#plan = plan;
    this.#clock = clock;
    this.#onFire = onFire;
    this.#takes = createMatcher(plan.subjects);
    this.createdAtMs = clock.nowMs();
  }

  get name(): string {
    return this.#plan.name;
  }

  get lastSequence(): number {
    return this.#base + this.#slots.length - 1;
  }

  setBytesMax(bytesMax: number): void {
    this.#plan = { ...this.#plan, bytesMax };
  }

  takes(subject: string): boolean {
    return this.#takes(subject);
  }

  /** Calls after each change that a reader may want to see. */
  listen(onStored: () => void): () => void {
    this.#listeners.add(onStored);
    return () => this.#listeners.delete(onStored);
  }

  /** Tells the readers to look again: the server is back. */
  wake(): void {
    this.#notify();
  }

  append(message: Append): AppendOutcome {
    const isReplicated = this.#plan.replicas > 1;
    const repeat = this.#repeatOf(message);
    // R1 compares first, R3 looks for the repeat first.
    if (isReplicated && repeat !== undefined) return { kind: "stored", sequence: repeat, duplicate: true };
    const objection = this.#objection(message);
    if (objection !== undefined) return objection;
    if (repeat !== undefined) return { kind: "stored", sequence: repeat, duplicate: true };
    const sequence = this.#store(message);
    this.#notify();
    return { kind: "stored", sequence, duplicate: false };
  }

  appendBatch(messages: readonly Append[]): AppendOutcome {
    if (!this.#plan.atomic) return refused("atomic batches are off");
    const written = new Set<string>();
    let bytes = 0;
    for (const message of messages) {
      assert(this.takes(message.subject), `${message.subject} does not belong to ${this.name}`);
      assert(
        message.expectLastSequence === undefined || !written.has(message.subject),
        `only the first write of a subject in a batch may be compared: ${message.subject}`,
      );
      written.add(message.subject);
      if (this.#repeatOf(message) !== undefined) return refused("the batch repeats a message id");
      const objection = this.#objection(message, bytes);
      if (objection !== undefined) return objection;
      bytes += sizeOf(message);
    }
    let sequence = 0;
    for (const message of messages) sequence = this.#store(message);
    for (const change of this.#changes.slice(-messages.length, -1)) change.isJoined = true;
    this.#notify();
    return { kind: "stored", sequence, duplicate: false };
  }

  last(subject: string): StoredMessage | undefined {
    const sequence = this.#bySubject.get(subject)?.at(-1);
    return sequence === undefined ? undefined : this.get(sequence);
  }

  get(sequence: number): StoredMessage | undefined {
    return this.#slots[sequence - this.#base]?.message;
  }

  /** The last message that matches the filter. */
  newest(filter: string): StoredMessage | undefined {
    const matches = createMatcher([filter]);
    return this.#slots.findLast((slot) => slot !== undefined && matches(slot.message.subject))?.message;
  }

  /** As a replica answers that is `staleChanges` changes behind. */
  lastMany(subjects: readonly string[], staleChanges: number): Map<string, StoredMessage> {
    if (staleChanges === Infinity) return new Map();
    const found = new Map<string, StoredMessage | undefined>();
    for (const subject of subjects) found.set(subject, this.last(subject));
    let from = Math.max(0, this.#changes.length - staleChanges);
    while (this.#changes[from - 1]?.isJoined === true) from--;
    for (const { subject, before } of this.#changes.slice(from).toReversed()) {
      if (found.has(subject)) found.set(subject, before);
    }
    return new Map([...found].flatMap(([subject, message]) => (message ? [[subject, message]] : [])));
  }

  /** The first message at or after the sequence that matches. */
  next(fromSequence: number, matches: (subject: string) => boolean): StoredMessage | undefined {
    for (let i = Math.max(this.#holes, fromSequence - this.#base); i < this.#slots.length; i++) {
      const message = this.#slots[i]?.message;
      if (message !== undefined && matches(message.subject)) return message;
    }
    return undefined;
  }

  /** Sequences of the newest message of each matching subject, in order. */
  lastPerSubject(matches: (subject: string) => boolean): number[] {
    const sequences: number[] = [];
    for (const [subject, all] of this.#bySubject) {
      const newest = all.at(-1);
      if (newest !== undefined && matches(subject)) sequences.push(newest);
    }
    return sequences.toSorted((a, b) => a - b);
  }

  range(filter: string, fromSequence: number, count: number): StoredMessage[] {
    const found: StoredMessage[] = [];
    if (!isWildcard(filter)) {
      for (const sequence of this.#bySubject.get(filter) ?? []) {
        const message = sequence < fromSequence || found.length >= count ? undefined : this.get(sequence);
        if (message !== undefined) found.push(message);
      }
      return found;
    }
    const matches = createMatcher([filter]);
    for (let from = fromSequence; found.length < count;) {
      const message = this.next(from, matches);
      if (message === undefined) break;
      found.push(message);
      from = message.sequence + 1;
    }
    return found;
  }

  subjects(filter: string): Map<string, number> {
    const matches = createMatcher([filter]);
    const found = new Map<string, number>();
    for (const [subject, all] of this.#bySubject) if (matches(subject)) found.set(subject, all.length);
    return found;
  }

  status(): StreamStatus {
    return {
      firstSequence: this.#base + this.#holes,
      lastSequence: this.lastSequence,
      createdAtMs: this.createdAtMs,
      messages: this.#messages,
      bytes: this.#bytes,
      bytesMax: this.#plan.bytesMax,
    };
  }

  purge(filter: string, belowSequence = Infinity): number {
    const matches = createMatcher([filter]);
    const subjects = isWildcard(filter) ? [...this.#bySubject.keys()].filter(matches) : [filter];
    let purged = 0;
    for (const subject of subjects) {
      const all = this.#bySubject.get(subject) ?? [];
      let count = all.findIndex((sequence) => sequence >= belowSequence);
      if (count < 0) count = all.length;
      if (count === 0) continue;
      if (count === all.length) this.#change(subject);
      for (const sequence of all.slice(0, count)) this.#free(sequence);
      if (count === all.length) this.#bySubject.delete(subject);
      else all.splice(0, count);
      purged += count;
    }
    return purged;
  }

  /** As after a restore of an older state: everything above the sequence is gone, and will be given again. */
  rollBack(lastSequence: number): void {
    for (let sequence = this.lastSequence; sequence > lastSequence; sequence--) {
      this.#remove(sequence);
      this.#slots.pop();
    }
    this.#holes = Math.min(this.#holes, this.#slots.length);
  }

  /** Another stream of the same name, which has come as far. */
  recreate(): void {
    this.purge(">");
    this.createdAtMs = this.#clock.nowMs() + 1;
  }

  /** Ends all timers: the model is not used any more. */
  close(): void {
    for (const slot of this.#slots) slot?.timer?.cancel();
    this.#listeners.clear();
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }

  #repeatOf({ messageId }: Append): number | undefined {
    if (messageId === undefined) return undefined;
    const known = this.#ids.get(messageId);
    if (known === undefined) return undefined;
    if (this.#clock.nowMs() - known.atMs < this.#plan.dedupeWindowMs) return known.sequence;
    this.#ids.delete(messageId);
    return undefined;
  }

  #objection(message: Append, bytesBefore = 0): AppendOutcome | undefined {
    const { subject, expectLastSequence, schedule, ttlSeconds } = message;
    const last = this.last(subject);
    if (expectLastSequence !== undefined && expectLastSequence !== (last?.sequence ?? 0))
      return { kind: "conflict" };
    if (schedule !== undefined && !this.#plan.schedules) return refused("schedules are off");
    if (schedule !== undefined && !this.takes(schedule.target))
      return refused("the schedule's target is elsewhere");
    if (ttlSeconds !== undefined && !this.#plan.ttl) return refused("time to live is off");
    const { bytesMax, discardNew, messagesPerSubjectMax } = this.#plan;
    if (!discardNew || bytesMax === Infinity) return undefined;
    const freed = last !== undefined && messagesPerSubjectMax === 1 ? this.#bytesOf(last.sequence) : 0;
    const isOver = this.#bytes + bytesBefore + sizeOf(message) - freed > bytesMax;
    return isOver ? { kind: "refused", full: true, reason: "maximum bytes exceeded" } : undefined;
  }

  #store(message: Append): number {
    const { subject, data, headers = {}, messageId, ttlSeconds, schedule } = message;
    const sequence = this.lastSequence + 1;
    const nowMs = this.#clock.nowMs();
    this.#change(subject);
    if (messageId !== undefined) this.#ids.set(messageId, { sequence, atMs: nowMs });
    const stored: StoredMessage = { subject, sequence, timestampMs: nowMs, headers, data };
    let timer: TimerHandle | undefined;
    if (schedule !== undefined) {
      timer = this.#clock.setTimer(() => this.#fire(sequence), schedule.atMs - nowMs);
    } else if (ttlSeconds !== undefined) {
      timer = this.#clock.setTimer(() => this.#remove(sequence), ttlSeconds * 1_000);
    }
    const bytes = sizeOf(message);
    this.#slots.push({ message: stored, bytes, target: schedule?.target, timer });
    this.#messages++;
    this.#bytes += bytes;
    const all = this.#bySubject.get(subject);
    if (all === undefined) this.#bySubject.set(subject, [sequence]);
    else all.push(sequence);
    // One schedule per subject: a new one replaces it.
    const kept = schedule === undefined ? this.#plan.messagesPerSubjectMax : 1;
    while (all !== undefined && all.length > kept) this.#remove(all[0] ?? 0, true);
    while (this.#bytes > this.#plan.bytesMax && this.#messages > 1) this.#remove(this.#base + this.#holes);
    return sequence;
  }

  #fire(sequence: number): void {
    const slot = this.#slots[sequence - this.#base];
    if (slot?.target !== undefined) this.#onFire(this, slot.message, slot.target);
  }

  /** Takes one message away: a schedule that fired. */
  drop(sequence: number): void {
    this.#remove(sequence);
  }

  #change(subject: string): void {
    this.#changes.push({ subject, before: this.last(subject), isJoined: false });
    if (this.#changes.length > 2 * CHANGES_KEPT_MAX) this.#changes = this.#changes.slice(-CHANGES_KEPT_MAX);
  }

  #remove(sequence: number, isReplaced = false): void {
    const slot = this.#slots[sequence - this.#base];
    if (slot === undefined) return;
    const { subject } = slot.message;
    const all = this.#bySubject.get(subject) ?? [];
    if (!isReplaced && all.at(-1) === sequence) this.#change(subject);
    all.splice(all.indexOf(sequence), 1);
    if (all.length === 0) this.#bySubject.delete(subject);
    this.#free(sequence);
  }

  #free(sequence: number): void {
    const index = sequence - this.#base;
    const slot = this.#slots[index];
    if (slot === undefined) return;
    slot.timer?.cancel();
    this.#slots[index] = undefined;
    this.#messages--;
    this.#bytes -= slot.bytes;
    while (this.#holes < this.#slots.length && this.#slots[this.#holes] === undefined) this.#holes++;
    if (this.#holes < HOLES_KEPT_MAX || this.#holes * 2 < this.#slots.length) return;
    this.#slots.splice(0, this.#holes);
    this.#base += this.#holes;
    this.#holes = 0;
  }

  #bytesOf(sequence: number): number {
    return this.#slots[sequence - this.#base]?.bytes ?? 0;
  }
}

function refused(reason: string): AppendOutcome {
  return { kind: "refused", full: false, reason };
}

/** What a message costs in a stream. */
export function sizeOf({ subject, data, headers }: Append): number {
  return RECORD_BYTES + subject.length + data.length + headersBytes(headers);
}

function headersBytes(headers: Headers | undefined): number {
  let bytes = 0;
  for (const name in headers) bytes += name.length + (headers[name]?.length ?? 0) + 4;
  return bytes;
}
