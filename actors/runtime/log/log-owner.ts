import {
  CommitKind,
  ScheduleSchema,
  type Entry,
  type Load,
  type Schedule,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Filled } from "./applier.ts";
import { Draft, encodeCommit, type CommitHead } from "./draft.ts";
import type { Input, InputQueue, InputSource, Taken } from "./inputs.ts";
import { LIMITS } from "../limits.ts";
import { loadOf, tellDeadLetters } from "./load.ts";
import type { Headers } from "../bus/bus.ts";
import { endOf, type OwnerEnd } from "./owner-end.ts";
import { type Brings, bringsOf } from "./journal-room.ts";
import { ownerParts, restBehindCommit, type LogOwnerOptions, type OwnerParts } from "./owner-parts.ts";
import { Reads } from "./reads.ts";
import { publishReplies } from "./replies.ts";
import { isArmed, restoreLog } from "./restore.ts";
import { NotUndoableError } from "../step/step-run.ts";
import type { Claimed } from "./takeover.ts";
import { Wake } from "./wake.ts";
import { FencedError } from "./watermark.ts";
import { create } from "../codec/create.ts";

/**
 * One log as its owner works on it: read – apply – commit – derive. Made by a takeover; lives until it is lost
 * or handed over.
 */
export class LogOwner {
  readonly log: number;
  readonly queue: InputQueue;
  readonly #options: LogOwnerOptions;
  readonly #claimed: Claimed;
  readonly #parts: OwnerParts;
  readonly #wake = new Wake();
  #reads: Reads | undefined;
  #carry: readonly Entry[];
  #positions: ReadonlyMap<InputSource, Taken>;
  #entriesMax: number = LIMITS.commitEntriesMax;
  #stepsMax: number = LIMITS.commitStepsMax;
  #isReleasing = false;
  #failure: unknown;
  readonly #counts = { applied: 0, deadLettered: 0 };
  #committedMs: number;
  #hasOthersMoved = false;
  /** Set from an announcement to its commit. */
  #endTurn: (() => void) | undefined;
  #unprojectedSinceMs: number | undefined;

  constructor(options: LogOwnerOptions, claimed: Claimed) {
    this.#options = options;
    this.#claimed = claimed;
    this.log = options.log;
    this.#carry = claimed.carry;
    this.#positions = claimed.positions;
    this.#committedMs = options.clock.monotonicMs();
    this.#parts = ownerParts(options, claimed, {
      push: (input) => this.push(input),
      onLoaded: () => this.#onLoaded(),
      onProjected: () => this.#onProjected(),
      onError: (error) => this.#fail(error),
    });
    this.queue = this.#parts.queue;
    options.abort.signal.addEventListener("abort", () => this.#wake.now(), { once: true });
  }

  /** An input has arrived. Records it will need are asked for at once. */
  push(input: Input): void {
    this.queue.push(input);
    this.#parts.local?.heard(input);
    for (const ref of this.#parts.applier.refsOf(input))
      if (this.#parts.store.find(ref) === undefined) this.#parts.store.want(ref);
    this.#wake.now();
  }

  /** Another log has committed something of substance (J5). */
  othersMoved(): void {
    this.#hasOthersMoved = true;
  }

  /** The room in the journal has changed: an idle log must not hold its purge up with an old position or watermark. */
  hurry(): void {
    this.#wake.now();
    this.#parts.records.wake();
  }

  /** Asks the owner to finish and hand the log over. */
  release(): void {
    this.#isReleasing = true;
    this.#wake.now();
  }

  /** Replays, then works until the log is lost or handed over. `onReady`: inputs may come from `queue.seen` on. */
  async run(onReady: () => void): Promise<OwnerEnd> {
    const { abort, bus, topology, group, log } = this.#options;
    const { store, events, derived, records } = this.#parts;
    try {
      await restoreLog(this.#options, this.#claimed, store, events, derived);
      records.wake();
      abort.signal.throwIfAborted();
      this.#reads = new Reads({
        bus,
        subject: topology.read(group, log),
        store,
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
      this.#parts.local?.close();
      abort.abort();
    }
  }

  load(): Load {
    const { group, log, workerId: owner, clock, room } = this.#options;
    return loadOf(clock.monotonicMs(), {
      group,
      log,
      owner,
      claimed: this.#claimed,
      queue: this.queue,
      dirty: this.#parts.store.dirtyCount,
      unprojectedSinceMs: this.#unprojectedSinceMs,
      isHeldBack: room.allowed !== "all",
      ...this.#counts,
    });
  }

  /** Its reader has brought all that waited of an input. */
  caughtUp(source: InputSource): void {
    this.#parts.guard.caughtUp(source, this.queue.seen(source));
  }

  /** Inputs up to here are in the journal: everything of the source below may be purged. */
  committed(source: InputSource): Taken | undefined {
    return this.#positions.get(source);
  }

  /** Stores a timer's schedule again, if the record still has it armed: it should have fired long ago. */
  rearm(schedule: Omit<Schedule, "$typeName">): void {
    const armed = create(ScheduleSchema, schedule);
    const { store, derived } = this.#parts;
    if (isArmed(store, armed)) derived.add(this.#claimed.journal.last, [], [armed], []);
  }

  /** Keeps the event watermark near the log's end also where no events are, so that replay stays short. */
  tick(): void {
    if (this.#isInDoubt()) this.#wake.now();
    this.#parts.events.advance(this.#options.room.isShort).catch((error: unknown) => this.#fail(error));
  }

  async #work(): Promise<void> {
    const { signal } = this.#options.abort;
    while (!this.#isReleasing && !signal.aborted) {
      const draft = new Draft(this.#parts.guard.isCareful ? 1 : this.#stepsMax);
      const filled = await this.#fillOrRollBack(draft);
      if (signal.aborted) return;
      if (filled === "again") continue;
      if (filled === "release") this.release();
      if (draft.isEmpty()) {
        this.#carry = draft.steps > 0 ? draft.carry : this.#carry;
        this.#reply(draft);
        this.#parts.local?.taken(draft.taken);
        // What is announced and still waits for its record keeps the turn.
        if (draft.taken.length === 0 && draft.steps === 0) await this.#idle();
        else await this.#withdraw();
        continue;
      }
      await this.#commit(draft);
      await restBehindCommit(this.#options, this.queue.length);
      const { store, events } = this.#parts;
      if (store.dirtyCount >= LIMITS.recordsDirtyMax || events.waitingCount >= LIMITS.eventsWaitingMax)
        await this.#wake.wait(this.#options.clock, LIMITS.projectionDelayMs);
    }
  }

  /** Nothing comes of what was announced: while it stands last on the log, it is suspected of the next crash. */
  async #withdraw(): Promise<void> {
    if (this.#endTurn === undefined) return;
    await this.#commitPositions();
    this.#leaveTurn();
  }

  #leaveTurn(): void {
    this.#endTurn?.();
    this.#endTurn = undefined;
  }

  /** A commit in which a step fails that cannot be undone alone is begun again, carefully. */
  async #fillOrRollBack(draft: Draft): Promise<Filled | "again"> {
    try {
      return await this.#fill(draft);
    } catch (error) {
      if (!(error instanceof NotUndoableError)) throw error;
      this.#rollBack(draft);
      this.#parts.applier.isCareful = true;
      return "again";
    }
  }

  /** In a crash loop one input is announced, then applied, at a time (J12). */
  async #fill(draft: Draft): Promise<Filled> {
    const { turn, room } = this.#options;
    this.queue.only = room.allowed === "all" ? undefined : "log";
    const isCarried = this.#carry.length > 0;
    const next = isCarried ? undefined : this.queue.peek();
    if (room.allowed === "positions" || (next === undefined && !isCarried)) {
      await this.#withdraw(); // the logs beside it may have what lets the journal be purged
      return "all";
    }
    if (!this.#parts.guard.isCareful) {
      while (turn.taken !== undefined) await turn.taken;
      return this.#parts.applier.fill(draft, this.#carry, this.queue, this.#entriesMax);
    }
    const { journal } = this.#claimed;
    this.#endTurn ??= await turn.take();
    const trying = this.#parts.guard.announcement(next, journal.last);
    if (trying !== undefined) {
      const head = { ...this.#head(CommitKind.TRYING), trying };
      const data = encodeCommit(head, { carry: [...this.#carry] });
      if (!(await this.#append(data, head.id, { "Tw-Kind": "trying" }, bringsOf(next ? [next] : [])))) {
        this.#leaveTurn();
        return "all";
      }
      this.#parts.guard.announced(trying, journal.last);
    }
    return this.#parts.applier.fill(draft, this.#carry, this.queue, isCarried ? 0 : 1);
  }

  /** Waits for work; meanwhile an idle log records its positions now and then (J5). */
  async #idle(): Promise<void> {
    const { clock, room } = this.#options;
    const idleMs = room.isShort ? LIMITS.upkeepShortMs : LIMITS.idlePositionMs;
    await this.#wake.wait(clock, idleMs);
    const isQuiet = this.queue.length === 0 || room.allowed !== "all";
    const isOld = clock.monotonicMs() - this.#committedMs >= idleMs;
    const isDue = (isQuiet && isOld && this.#hasOthersMoved) || this.#isInDoubt();
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
    const ofCommit =
      kind === CommitKind.COMMIT ? this.#parts.guard.takeoversAt(positions) : this.#parts.guard.takeovers;
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
    const data = draft.encode(head);
    const oversize = draft.oversize(data);
    if (oversize !== undefined)
      return void (this.#giveBack(draft) || this.#parts.applier.refuseNext(oversize));
    const brings = bringsOf(draft.taken);
    if (!(await this.#append(data, head.id, draft.headers(), brings))) return void this.#giveBack(draft);
    // Not before: an input that is too large is tried again, and meanwhile its announcement stands.
    this.#leaveTurn();
    const sequence = this.#claimed.journal.last;
    this.#parts.applier.isCareful = false;
    this.#parts.guard.committed(this.#positions, this.queue.length === 0 && draft.carry.length === 0);
    this.#carry = draft.carry;
    this.#counts.applied += draft.steps;
    draft.commit(sequence);
    this.#reply(draft);
    this.#counts.deadLettered += draft.deadLetters.length;
    tellDeadLetters(this.#options.logger, this.#options.onDeadLetter, draft.deadLetters);
    for (const record of draft.changed) this.#parts.store.markDirty(record, sequence);
    this.#unprojectedSinceMs ??= this.#committedMs;
    this.#parts.events.add(sequence, draft.events);
    this.#parts.local?.taken(draft.taken);
    const local = this.#parts.guard.isCareful ? undefined : this.#parts.local;
    this.#parts.derived.add(sequence, draft.tasks, draft.schedules, draft.deadLetters, { local });
    this.#parts.records.wake();
    this.#entriesMax = Math.min(LIMITS.commitEntriesMax, Math.max(1, this.#entriesMax) * 2);
    this.#stepsMax = Math.min(LIMITS.commitStepsMax, this.#stepsMax * 2);
  }

  /** False: the log is lost, or there is no room for what may wait: it must not keep positions from being stored. */
  async #append(data: Uint8Array, id: string, headers: Headers, brings?: Brings): Promise<boolean> {
    const { room, clock } = this.#options;
    const positions = this.queue.positions();
    if (brings !== undefined && !room.fits(data.length, brings)) {
      room.refused(brings);
      return false;
    }
    const append = this.#claimed.journal.append(id, data, headers, brings !== undefined);
    const outcome = await room.storing(data.length, append);
    if (outcome.kind === "committed") {
      this.#positions = positions;
      this.#committedMs = clock.monotonicMs();
      return true;
    }
    if (outcome.kind === "full") room.refused();
    else if (outcome.kind === "fenced") this.#fail(new FencedError("another owner has the log"));
    else this.#fail(new Error(`the stream refuses a commit: ${outcome.reason}`));
    return false;
  }

  #rollBack(draft: Draft): void {
    draft.rollback();
    this.queue.putBack(draft.taken, this.#positions);
  }

  /** Back to the last commit, then with half of it. False: it is one step, or one input and what is carried. */
  #giveBack(draft: Draft): boolean {
    this.#rollBack(draft);
    const { steps, taken } = draft;
    const isCarried = this.#carry.length > 0;
    if (steps <= 1 && taken.length <= 1 && !(isCarried && taken.length > 0)) return false;
    this.#stepsMax = Math.max(1, Math.floor(steps / 2));
    this.#entriesMax = Math.max(isCarried ? 0 : 1, Math.floor(taken.length / 2));
    return true;
  }

  #reply(draft: Draft): void {
    const { bus, group, log } = this.#options;
    const { epoch, journal } = this.#claimed;
    const logSequence = BigInt(journal.last);
    const inboxSequence = BigInt(this.queue.takenThrough("inbox"));
    publishReplies(bus, { group, log, epoch, logSequence, inboxSequence }, draft.replies);
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
    const { dirtyCount } = this.#parts.store;
    this.#unprojectedSinceMs = dirtyCount === 0 ? undefined : this.#options.clock.monotonicMs();
    this.#wake.now();
  }

  async #handOver(): Promise<OwnerEnd> {
    this.#parts.derived.release(this.#parts.local);
    while (!this.#parts.derived.isIdle()) {
      await this.#wake.wait(this.#options.clock, LIMITS.retryDelayMs);
      this.#options.abort.signal.throwIfAborted();
    }
    await Promise.all([this.#parts.records.drain(), this.#parts.events.drain()]);
    this.#reads?.close(); // once it is stored another owner may be at work, whether we hear of it or not
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
    return endOf(this.#failure, this.#options);
  }
}
