import { sleep, type Clock } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import {
  CommitKind,
  ScheduleSchema,
  type Entry,
  type Load,
  type Schedule,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { ActorDefinition } from "../actor.ts";
import { Applier, type Filled } from "./applier.ts";
import { CrashGuard } from "./crash-guard.ts";
import { Derived } from "./derived.ts";
import { Draft, encodeCommit, type CommitHead } from "./draft.ts";
import { InputQueue, type Input, type InputSource, type Taken } from "./inputs.ts";
import { LIMITS } from "../limits.ts";
import { loadOf, tellDeadLetters } from "./load.ts";
import { LocalTasks, type TaskRunner } from "./local-tasks.ts";
import { EventProjector, RecordProjector } from "./projector.ts";
import type { ProjectionDefinition } from "../projection.ts";
import { type CacheOptions, RecordStore } from "./record-store.ts";
import { Reads } from "./reads.ts";
import { publishReplies } from "./replies.ts";
import { isArmed, restoreLog } from "./restore.ts";
import { NotUndoableError } from "../step/step-run.ts";
import type { Claimed, TakeoverOptions } from "./takeover.ts";
import type { Turn } from "./turn.ts";
import { Wake } from "./wake.ts";
import { FencedError } from "./watermark.ts";
import { create } from "../codec/create.ts";

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
  /** Makes the first attempts of the log's tasks in this process. */
  readonly tasks?: TaskRunner;
  /** Called when an entry went to the dead letters. */
  readonly onDeadLetter: (kind: string, reason: string) => void;
}

/** Why an owner ended. */
export type OwnerEnd = "handed-over" | "fenced" | "aborted" | "failed";

/**
 * One log as its owner works on it: read – apply – commit – derive. Made by a takeover; lives until it is lost
 * or handed over.
 */
export class LogOwner {
  readonly log: number;
  readonly queue: InputQueue;
  readonly #options: LogOwnerOptions;
  readonly #claimed: Claimed;
  readonly #store: RecordStore;
  readonly #applier: Applier;
  readonly #derived: Derived;
  readonly #records: RecordProjector;
  readonly #events: EventProjector;
  readonly #guard: CrashGuard;
  readonly #local: LocalTasks | undefined;
  readonly #wake = new Wake();
  #reads: Reads | undefined;
  #carry: readonly Entry[];
  #positions: ReadonlyMap<InputSource, Taken>;
  #entriesMax: number = LIMITS.commitEntriesMax;
  #stepsMax: number = LIMITS.commitStepsMax;
  #isReleasing = false;
  #failure: unknown;
  #applied = 0;
  #deadLettered = 0;
  #committedMs: number;
  #hasOthersMoved = false;
  /** Set from an announcement to its commit. */
  #endTurn: (() => void) | undefined;
  #idleMs: number = LIMITS.idlePositionMs;
  #isShort = false;
  #unprojectedSinceMs: number | undefined;

  constructor(options: LogOwnerOptions, claimed: Claimed) {
    this.#options = options;
    this.#claimed = claimed;
    this.log = options.log;
    this.#carry = claimed.carry;
    this.#positions = claimed.positions;
    this.#guard = new CrashGuard(claimed.streams, claimed.takeovers, claimed.poison);
    this.#committedMs = options.clock.monotonicMs();
    this.queue = new InputQueue(claimed.positions);
    const { bus, clock, topology, group, log, actors, projections, abort, recordsCachedMax } = options;
    const { signal } = abort;
    const onError = (error: unknown) => this.#fail(error);
    const lastCommit = () => claimed.journal.last;
    const base = { bus, clock, topology, group, log, signal, recordsCachedMax };
    this.#store = new RecordStore({
      ...base,
      ackedMark: () => claimed.recordMark.revision,
      onLoaded: () => this.#onLoaded(),
    });
    this.#derived = new Derived({ ...base, isArmed: (schedule) => isArmed(this.#store, schedule) });
    const push = (input: Input) => this.push(input);
    if (options.tasks) this.#local = new LocalTasks({ runner: options.tasks, clock, topology, push });
    const storedThrough = (last: number) => Math.min(last, this.#derived.storedThrough(last));
    this.#records = new RecordProjector({
      ...base,
      mark: claimed.recordMark,
      onError,
      store: this.#store,
      lastCommit,
      storedThrough,
      onProjected: () => this.#onProjected(),
    });
    this.#events = new EventProjector({ ...base, mark: claimed.eventMark, onError, lastCommit });
    const incarnation = ([...claimed.streams.values()][0]?.createdAtMs ?? 0).toString(36);
    const { hasOtherBuild, isLeftToOthers } = options;
    this.#applier = new Applier({
      topology,
      group,
      log,
      incarnation,
      actors,
      projections,
      store: this.#store,
      isPoison: (source, sequence, index) => this.#guard.meetsPoison(source, sequence, index),
      hasOtherBuild,
      isLeftToOthers,
    });
    signal.addEventListener("abort", () => this.#wake.now(), { once: true });
  }

  /** An input has arrived. Records it will need are asked for at once. */
  push(input: Input): void {
    this.queue.push(input);
    this.#local?.heard(input);
    for (const ref of this.#applier.refsOf(input))
      if (this.#store.get(ref.name) === undefined) this.#store.want(ref);
    this.#wake.now();
  }

  /** Another log has committed something of substance (J5). */
  othersMoved(): void {
    this.#hasOthersMoved = true;
  }

  /** The journal runs out of space: an idle log must not hold its purge up with an old position or watermark. */
  hurry(isShort: boolean): void {
    this.#isShort = isShort;
    this.#idleMs = isShort ? LIMITS.idlePositionShortMs : LIMITS.idlePositionMs;
    if (!isShort) return;
    this.#wake.now();
    this.#records.wake();
  }

  /** Asks the owner to finish and hand the log over. */
  release(): void {
    this.#isReleasing = true;
    this.#wake.now();
  }

  /** Replays, then works until the log is lost or handed over. `onReady`: inputs may come from `queue.seen` on. */
  async run(onReady: () => void): Promise<OwnerEnd> {
    const { abort, bus, topology, group, log } = this.#options;
    try {
      await restoreLog(this.#options, this.#claimed, this.#store, this.#events, this.#derived);
      this.#records.wake();
      abort.signal.throwIfAborted();
      this.#reads = new Reads({
        bus,
        subject: topology.read(group, log),
        store: this.#store,
        epoch: this.#claimed.epoch,
        lastSequence: () => this.#claimed.journal.last,
        isFresh: () => this.#isFresh(),
      });
      onReady();
      await this.#work();
      if (!this.#isReleasing || abort.signal.aborted) return this.#ended();
      return await this.#handOver();
    } catch (error) {
      this.#failure ??= error;
      return this.#ended();
    } finally {
      this.#endTurn?.();
      this.#reads?.close();
      this.#local?.close();
      abort.abort();
    }
  }

  load(): Load {
    const { group, log, workerId: owner, clock } = this.#options;
    const { epoch, journal } = this.#claimed;
    return loadOf(clock.monotonicMs(), {
      group,
      log,
      owner,
      epoch,
      queued: this.queue.length,
      oldestArrivedMs: this.queue.oldestArrivedMs,
      last: journal.last,
      applied: this.#applied,
      dirty: this.#store.dirtyCount,
      unprojectedSinceMs: this.#unprojectedSinceMs,
      halted: journal.isFull ? "the store is full" : "",
      deadLettered: this.#deadLettered,
    });
  }

  /** Its reader has brought all that waited of an input. */
  caughtUp(source: InputSource): void {
    this.#guard.caughtUp(source, this.queue.seen(source));
  }

  /** Inputs up to here are in the journal: everything of the source below may be purged. */
  committed(source: InputSource): Taken | undefined {
    return this.#positions.get(source);
  }

  /** Stores a timer's schedule again, if the record still has it armed: it should have fired long ago. */
  rearm(schedule: Omit<Schedule, "$typeName">): void {
    const armed = create(ScheduleSchema, schedule);
    if (isArmed(this.#store, armed)) this.#derived.add(this.#claimed.journal.last, [], [armed], []);
  }

  /** Keeps the event watermark near the log's end also where no events are, so that replay stays short. */
  tick(): void {
    if (this.#isInDoubt()) this.#wake.now();
    this.#events.advance(this.#isShort).catch((error: unknown) => this.#fail(error));
  }

  async #work(): Promise<void> {
    const { signal } = this.#options.abort;
    while (!this.#isReleasing && !signal.aborted) {
      const draft = new Draft(this.#guard.isCareful ? 1 : this.#stepsMax);
      const filled = await this.#fillOrRollBack(draft);
      if (signal.aborted) return;
      if (filled === "again") continue;
      if (filled === "release") this.release();
      if (draft.isEmpty()) {
        this.#carry = draft.steps > 0 ? draft.carry : this.#carry;
        this.#reply(draft);
        this.#local?.taken(draft.taken);
        // What is announced and still waits for its record keeps the turn.
        if (draft.taken.length === 0 && draft.steps === 0) await this.#idle();
        else {
          // Nothing came of what was announced: while it stands last on the log, it is suspected of the next crash.
          if (this.#endTurn !== undefined) await this.#commitPositions();
          this.#leaveTurn();
        }
        continue;
      }
      await this.#commit(draft);
      this.#leaveTurn();
      await this.#rest();
      if (this.#store.dirtyCount >= LIMITS.recordsDirtyMax)
        await this.#wake.wait(this.#options.clock, LIMITS.projectionDelayMs);
    }
  }

  #leaveTurn(): void {
    this.#endTurn?.();
    this.#endTurn = undefined;
  }

  /** A projection group commits some times a second: its records are hot, and each commit holds them all. */
  async #rest(): Promise<void> {
    const { topology, group, clock, abort } = this.#options;
    const isBehind = this.queue.length >= LIMITS.commitEntriesMax;
    if (topology.group(group).reads === "events" && !isBehind)
      await sleep(clock, LIMITS.projectionDelayMs, abort.signal);
  }

  /** A commit in which a step fails that cannot be undone alone is begun again, carefully. */
  async #fillOrRollBack(draft: Draft): Promise<Filled | "again"> {
    try {
      return await this.#fill(draft);
    } catch (error) {
      if (!(error instanceof NotUndoableError)) throw error;
      draft.rollback();
      this.queue.putBack(draft.taken, this.#positions);
      this.#applier.isCareful = true;
      return "again";
    }
  }

  /** In a crash loop one input is announced, then applied, at a time (J12). */
  async #fill(draft: Draft): Promise<Filled> {
    const { turn } = this.#options;
    if (!this.#guard.isCareful) {
      while (turn.taken !== undefined) await turn.taken;
      return this.#applier.fill(draft, this.#carry, this.queue, this.#entriesMax);
    }
    const isCarried = this.#carry.length > 0;
    const next = isCarried ? undefined : this.queue.peek();
    if (next === undefined && !isCarried) return "all";
    const { journal } = this.#claimed;
    this.#endTurn ??= await turn.take();
    const trying = this.#guard.announcement(next, journal.last);
    if (trying !== undefined) {
      const head = { ...this.#head(CommitKind.TRYING), trying };
      const data = encodeCommit(head, { carry: [...this.#carry] });
      if (!(await this.#append(data, head.id, { "Tw-Kind": "trying" }))) return "all";
      this.#guard.announced(trying, journal.last);
    }
    return this.#applier.fill(draft, this.#carry, this.queue, isCarried ? 0 : 1);
  }

  /** Waits for work; meanwhile an idle log records its positions now and then (J5). */
  async #idle(): Promise<void> {
    const { clock } = this.#options;
    await this.#wake.wait(clock, this.#idleMs);
    const isQuiet = clock.monotonicMs() - this.#committedMs >= this.#idleMs && this.queue.length === 0;
    const isDue = (isQuiet && this.#hasOthersMoved) || this.#isInDoubt();
    if (!isDue || this.#options.abort.signal.aborted || this.#isReleasing) return;
    this.#hasOthersMoved = false;
    await this.#commitPositions();
  }

  async #commitPositions(): Promise<void> {
    const head = this.#head(CommitKind.POSITION);
    await this.#append(encodeCommit(head, { carry: [...this.#carry] }), head.id, { "Tw-Kind": "position" });
  }

  #head(kind: CommitKind): CommitHead {
    const { clock, random, workerId, contracts } = this.#options;
    const positions = this.queue.positions();
    const ofCommit = kind === CommitKind.COMMIT ? this.#guard.takeoversAt(positions) : this.#guard.takeovers;
    return {
      kind,
      id: random.id(),
      epoch: this.#claimed.epoch,
      owner: kind === CommitKind.HANDOVER ? "" : workerId,
      positions,
      streams: this.#claimed.streams,
      takeovers: kind === CommitKind.HANDOVER ? 0 : ofCommit,
      atMs: clock.nowMs(),
      contracts,
    };
  }

  async #commit(draft: Draft): Promise<void> {
    const head = this.#head(CommitKind.COMMIT);
    const tooLarge = draft.oversizedRecord();
    const data = draft.encode(head);
    if (tooLarge !== undefined || data.length > LIMITS.messageBytesMax - LIMITS.headerBytesMax) {
      return this.#shrink(draft, tooLarge ?? `the commit has ${data.length} bytes`);
    }
    const headers = draft.headers();
    if (!(await this.#append(data, head.id, headers))) return;
    const sequence = this.#claimed.journal.last;
    this.#applier.isCareful = false;
    this.#guard.committed(this.#positions, this.queue.length === 0 && draft.carry.length === 0);
    this.#carry = draft.carry;
    this.#applied += draft.steps;
    draft.commit(sequence);
    this.#reply(draft);
    this.#deadLettered += draft.deadLetters.length;
    tellDeadLetters(this.#options.logger, this.#options.onDeadLetter, draft.deadLetters);
    for (const record of draft.changed) this.#store.markDirty(record, sequence);
    this.#unprojectedSinceMs ??= this.#committedMs;
    this.#events.add(sequence, draft.events);
    this.#local?.taken(draft.taken);
    const local = this.#guard.isCareful ? undefined : this.#local;
    this.#derived.add(sequence, draft.tasks, draft.schedules, draft.deadLetters, { local });
    this.#records.wake();
    this.#entriesMax = Math.min(LIMITS.commitEntriesMax, Math.max(1, this.#entriesMax) * 2);
    this.#stepsMax = Math.min(LIMITS.commitStepsMax, this.#stepsMax * 2);
  }

  /** False: the log is lost. */
  async #append(data: Uint8Array, id: string, headers: Readonly<Record<string, string>>): Promise<boolean> {
    const positions = this.queue.positions();
    const outcome = await this.#claimed.journal.append(id, data, headers);
    if (outcome.kind === "committed") {
      this.#positions = positions;
      this.#committedMs = this.#options.clock.monotonicMs();
      return true;
    }
    this.#fail(
      outcome.kind === "fenced"
        ? new FencedError("another owner has the log")
        : new Error(`the stream refuses a commit: ${outcome.reason}`),
    );
    return false;
  }

  /**
   * Too large for one message: back to the last commit, then with half of it, or without the one step that is
   * too large.
   */
  #shrink(draft: Draft, why: string): void {
    draft.rollback();
    this.queue.putBack(draft.taken, this.#positions);
    const { steps, taken } = draft;
    const isCarried = this.#carry.length > 0;
    if (steps > 1 || taken.length > 1 || (isCarried && taken.length > 0)) {
      this.#stepsMax = Math.max(1, Math.floor(steps / 2));
      this.#entriesMax = Math.max(isCarried ? 0 : 1, Math.floor(taken.length / 2));
      return;
    }
    this.#applier.refuseNext(`${why}; what one message does must fit one commit`);
  }

  #reply(draft: Draft): void {
    const { bus, group, log } = this.#options;
    const { epoch, journal } = this.#claimed;
    publishReplies(bus, { group, log, epoch, logSequence: BigInt(journal.last) }, draft.replies);
  }

  /**
   * J23: an owner that may have been replaced does not answer. Its lease keeps others off; where it has run out, it
   * counts again from the next append on that shows that nobody has come.
   */
  #isFresh(): boolean {
    const { clock, lease } = this.#options;
    return clock.monotonicMs() - lease.renewedSentMs <= LIMITS.ownerSilentMsMax && !this.#isInDoubt();
  }

  #isInDoubt(): boolean {
    return this.#options.lease.unbrokenSinceMs > this.#claimed.journal.ackedSentMs;
  }

  #onLoaded(): void {
    this.#reads?.onLoaded();
    this.#wake.now();
  }

  #onProjected(): void {
    this.#unprojectedSinceMs = this.#store.dirtyCount === 0 ? undefined : this.#options.clock.monotonicMs();
    this.#wake.now();
  }

  async #handOver(): Promise<OwnerEnd> {
    this.#derived.release(this.#local);
    while (!this.#derived.isIdle()) {
      await this.#wake.wait(this.#options.clock, LIMITS.retryDelayMs);
      this.#options.abort.signal.throwIfAborted();
    }
    await Promise.all([this.#records.drain(), this.#events.drain()]);
    const head = this.#head(CommitKind.HANDOVER);
    const isDone = await this.#append(encodeCommit(head, { carry: [...this.#carry] }), head.id, {
      "Tw-Kind": "handover",
    });
    return isDone ? "handed-over" : this.#ended();
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#options.abort.abort();
  }

  #ended(): OwnerEnd {
    const { logger, log } = this.#options;
    if (this.#failure instanceof FencedError) return "fenced";
    const isAbort =
      this.#failure === undefined || (this.#failure instanceof Error && this.#failure.name === "AbortError");
    if (isAbort) return "aborted";
    logger.error({ log, err: this.#failure }, "the owner of a log failed");
    return "failed";
  }
}
