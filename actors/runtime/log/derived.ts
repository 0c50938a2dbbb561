import { sleep, type Clock, type TimerHandle } from "../../../platform/clock.ts";
import {
  BundleSchema,
  DeadLetterSchema,
  EntrySchema,
  FiringSchema,
  TaskBundleSchema,
  TaskSchema,
  type DeadLetter,
  type Schedule,
  type Task,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { assert } from "../assert.ts";
import type { Append, Bus } from "../bus/bus.ts";
import { HEADER } from "../headers.ts";
import { LIMITS } from "../limits.ts";
import type { LocalTasks } from "./local-tasks.ts";
import { attemptHeader } from "../tasks/task-message.ts";
import { isKey, isToken, type Topology } from "../topology.ts";
import { encode } from "../codec/encode.ts";
import { create } from "../codec/create.ts";

/** What the derived messages of one log need. */
export interface DerivedOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly topology: Topology;
  readonly group: string;
  readonly log: number;
  readonly signal: AbortSignal;
  /** True while the committed record still has this timer armed. */
  readonly isArmed: (schedule: Schedule) => boolean;
  /** Dead letters, and all that was derived with them, are stored: the watermark may say so. */
  readonly onLettersStored: () => void;
}

interface WaitingSchedule {
  readonly sequence: number;
  readonly schedule: Schedule;
}

/** Stands in a dead letter's subject for what is missing there, or cannot be a part of a subject. */
const NO_NAME = "none";
/** Appends under way at once per log. */
const APPENDS_IN_FLIGHT_MAX = 128;

/**
 * Publishes what follows from commits: tasks and dead letters at once, schedules a little later, since most timers are
 * cancelled before. Everything is idempotent and repeated until stored; `storedThrough` says how far all of it is.
 */
export class Derived {
  readonly #options: DerivedOptions;
  /** Messages of each commit that are not stored yet, by log sequence, ascending. */
  readonly #open = new Map<number, number>();
  readonly #queue: { readonly sequence: number; readonly message: Append }[] = [];
  #inFlight = 0;
  #schedules: WaitingSchedule[] = [];
  #timer: TimerHandle | undefined;
  /** Dead letters were derived since the last time that nothing was open. */
  #hasLetters = false;

  constructor(options: DerivedOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => this.#timer?.cancel(), { once: true });
  }

  /** Everything of commits up to the result is stored, given that `last` is the newest commit. */
  storedThrough(last: number): number {
    for (const sequence of this.#open.keys()) return sequence - 1;
    return last;
  }

  /** True if nothing waits. */
  isIdle(): boolean {
    return this.#open.size === 0;
  }

  /**
   * Takes over what a commit has caused. Commits come in log order.
   * @param how `local` makes the first attempts of tasks that it takes, what it does not take goes to TASKS; `attempts`
   * are those that an owner before may have made
   */
  add(
    sequence: number,
    tasks: readonly Task[],
    schedules: readonly Schedule[],
    deadLetters: readonly DeadLetter[],
    { local, attempts = 0 }: { readonly local?: LocalTasks | undefined; readonly attempts?: number } = {},
  ): void {
    const onEnd = (left?: Append) => this.#taskEnded(sequence, left);
    const away = tasks.filter((task, index) => local?.start({ task, sequence, index, onEnd }) !== true);
    const messages = [
      ...this.#taskMessages(away, attempts),
      ...deadLetters.map((letter) => this.#deadLetter(letter)),
    ];
    const count = messages.length + schedules.length + tasks.length - away.length;
    if (count === 0) return;
    this.#hasLetters ||= deadLetters.length > 0;
    this.#open.set(sequence, (this.#open.get(sequence) ?? 0) + count);
    for (const message of messages) this.#queue.push({ sequence, message });
    const { clock } = this.#options;
    for (const schedule of schedules) {
      const isSoon = Number(schedule.deadlineMs) <= clock.nowMs() + LIMITS.scheduleDelayMs;
      if (isSoon) this.#queue.push({ sequence, message: this.#schedule(schedule) });
      else this.#schedules.push({ sequence, schedule });
    }
    if (this.#schedules.length > 0 && this.#timer === undefined) {
      this.#timer = clock.setTimer(() => this.flushSchedules(), LIMITS.scheduleDelayMs);
    }
    this.#pump();
  }

  /** The log is handed over: first attempts that are under way are left to everybody. */
  release(local: LocalTasks | undefined): void {
    for (const { task, onEnd } of local?.close() ?? []) onEnd(this.#task(task, 1));
    this.flushSchedules();
  }

  #taskEnded(sequence: number, left: Append | undefined): void {
    if (left === undefined) return this.#done(sequence);
    this.#queue.push({ sequence, message: left });
    this.#pump();
  }

  /** Stores the schedules that are still armed; the others have nothing to store. */
  flushSchedules(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const waiting = this.#schedules;
    this.#schedules = [];
    for (const { sequence, schedule } of waiting) {
      if (this.#options.isArmed(schedule)) this.#queue.push({ sequence, message: this.#schedule(schedule) });
      else this.#done(sequence);
    }
    this.#pump();
  }

  #pump(): void {
    while (this.#inFlight < APPENDS_IN_FLIGHT_MAX) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      const { sequence, message } = next;
      this.#inFlight++;
      void this.#store(message).then((isStored) => {
        this.#inFlight--;
        if (!isStored) return;
        this.#done(sequence);
        this.#pump();
      });
    }
  }

  async #store(message: Append): Promise<boolean> {
    const { bus, clock, signal } = this.#options;
    for (
      let delayMs: number = LIMITS.retryDelayMs;
      !signal.aborted;
      delayMs = Math.min(delayMs * 2, LIMITS.retryDelayMsMax)
    ) {
      const outcome = await bus.append(message);
      if (outcome.kind === "stored") return true;
      if (outcome.kind === "conflict") return true; // a message that is made once is there
      await sleep(clock, delayMs, signal);
    }
    return false;
  }

  #done(sequence: number): void {
    const left = (this.#open.get(sequence) ?? 0) - 1;
    if (left > 0) this.#open.set(sequence, left);
    else this.#open.delete(sequence);
    if (!this.#hasLetters || this.#open.size > 0) return;
    this.#hasLetters = false;
    this.#options.onLettersStored();
  }

  /** Tasks of one queue travel together: with every message synced, messages are what costs. */
  #taskMessages(tasks: readonly Task[], attempts: number): Append[] {
    const bundles: Task[][] = [];
    const open = new Map<string, { readonly tasks: Task[]; bytes: number }>();
    for (const task of tasks) {
      let bundle = open.get(task.queue);
      const isFull =
        bundle === undefined ||
        bundle.tasks.length >= LIMITS.taskBundleMax ||
        bundle.bytes + task.body.length > LIMITS.taskBundleBytesMax;
      if (bundle === undefined || isFull) {
        bundle = { tasks: [], bytes: 0 };
        open.set(task.queue, bundle);
        bundles.push(bundle.tasks);
      }
      bundle.tasks.push(task);
      bundle.bytes += task.body.length;
    }
    return bundles.map((bundle) => this.#taskMessage(bundle, attempts));
  }

  #taskMessage(tasks: readonly Task[], attempts: number): Append {
    const [first] = tasks;
    assert(first, "a bundle holds a task");
    if (tasks.length === 1) return this.#task(first, attempts);
    const { topology, group, log } = this.#options;
    return {
      subject: topology.taskBundle(first.queue, group, log, first.id),
      data: encode(TaskBundleSchema, create(TaskBundleSchema, { tasks: [...tasks] })),
      headers: { [HEADER.entries]: String(tasks.length), ...attemptHeader(attempts) },
      messageId: `${first.id}+${tasks.length}`,
    };
  }

  #task(task: Task, attempts: number): Append {
    const subject = this.#options.topology.task(task.queue, task.tenant, task.key, task.id);
    const headers = { ...(task.trace === "" ? {} : { traceparent: task.trace }), ...attemptHeader(attempts) };
    return { subject, data: encode(TaskSchema, task), headers, messageId: task.id };
  }

  #deadLetter(letter: DeadLetter): Append {
    const { entry, id, reason, error } = letter;
    const { topology } = this.#options;
    const { kind = "", tenant = "", key = "" } = entry ?? {};
    const subject = topology.dead(
      isToken(kind) ? kind : NO_NAME,
      isToken(tenant) ? tenant : NO_NAME,
      isKey(key) ? key : NO_NAME,
      id,
    );
    const headers = {
      "Tw-Reason": reason,
      "Tw-Error": error.replace(/[^\x20-\x7e]/g, " ").slice(0, 200),
      "Tw-From": letter.from,
    };
    // The server forgets the id after a while: a letter that is derived again later must not be there twice.
    const once = { messageId: id, expectLastSequence: 0 };
    return { subject, data: encode(DeadLetterSchema, letter), headers, ...once };
  }

  #schedule({ kind, tenant, key, timer, arm, deadlineMs }: Schedule): Append {
    const { topology, group, log } = this.#options;
    const value = create(FiringSchema, { timer, arm, deadlineMs });
    const entry = create(EntrySchema, { kind, tenant, key, source: { case: "firing", value } });
    return {
      subject: topology.timer(group, log, kind, tenant, key, arm),
      data: encode(BundleSchema, create(BundleSchema, { entries: [entry] })),
      schedule: { atMs: Number(deadlineMs), target: topology.inbox(group, log) },
    };
  }
}
