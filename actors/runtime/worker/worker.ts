import { createHash } from "node:crypto";

import { sleep, type Clock, type TimerHandle } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import type { Random } from "../../../platform/random.ts";
import { LoadSchema } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { ActorDefinition } from "../actor.ts";
import { BatchCombiner } from "../log/batch-combiner.ts";
import { BusError, type Bus } from "../bus/bus.ts";
import { LIMITS } from "../limits.ts";
import { JournalRoom } from "../log/journal-room.ts";
import type { TaskRunner } from "../log/local-tasks.ts";
import { LogOwner } from "../log/log-owner.ts";
import type { OwnerEnd } from "../log/owner-end.ts";
import type { LogOwnerOptions } from "../log/owner-parts.ts";
import { Membership, rpcHash } from "./membership.ts";
import { placeLogs } from "./placement.ts";
import type { ProjectionDefinition } from "../projection.ts";
import { purgeEvents, purgeInbox, purgeJournal } from "./purge.ts";
import { Readers } from "../log/readers.ts";
import type { TaskService } from "../task-queue.ts";
import { type Claimed, HaltError, logEnd, takeOver, type TakeoverOptions } from "../log/takeover.ts";
import { TRIM_KIND, TRIM_METHOD } from "../step/step-context.ts";
import { TimerSweep } from "./timer-sweep.ts";
import type { Topology } from "../topology.ts";
import { Turn } from "../log/turn.ts";
import { FencedError } from "../log/watermark.ts";
import { encode } from "../codec/encode.ts";

/** What a worker needs from outside; a simulation gives its own clock, randomness and bus. */
export interface WorkerOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly topology: Topology;
  readonly group: string;
  /**
   * Unique among live workers of the group; a restarted process may keep it and then needs not wait for its old
   * lease.
   */
  readonly workerId: string;
  readonly actors: readonly ActorDefinition[];
  readonly projections: readonly ProjectionDefinition[];
  /** Makes the first attempts of this worker's tasks: the process's task worker. Without it all tasks go to TASKS. */
  readonly tasks?: TaskRunner;
  /** Called when an entry went to the dead letters. */
  readonly onDeadLetter?: (kind: string, reason: string) => void;
  /** Clean records kept in memory per log; by default LIMITS.recordsCachedMax. What does not fit is read again. */
  readonly recordsCachedMax?: number;
  /** Events older than this are dropped once every projection has read them; by default they are kept. */
  readonly eventsAgeMsMax?: number;
}

/** A running worker of one group. */
export interface Worker {
  /** Logs owned now. */
  owned(): readonly number[];
  /** Why the worker is unwell, undefined when it is not. */
  problem(): string | undefined;
  /** Finishes, projects and hands its logs over; resolves when nothing of it runs any more. */
  stop(): Promise<void>;
}

/** What a server of task queues needs. */
export interface TaskWorkerOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly topology: Topology;
  readonly services: readonly TaskService[];
  /** Tasks of one queue that this process works on at once. */
  readonly inFlightMax?: number;
}

/** A log that this worker owns or is taking over. */
interface Holding {
  readonly abort: AbortController;
  owner: LogOwner | undefined;
  isReady: boolean;
  ended: Promise<void>;
}

const TICK_MS = 200;
/** A better placed worker must have been so for this long before a log moves. */
const SETTLED_MS = 1_000;
const STOP_MS_MAX = 15_000;

/** Names what a build understands: kinds, rpcs, projections. */
export function contractsHash(
  actors: readonly ActorDefinition[],
  projections: readonly ProjectionDefinition[],
): string {
  const names = [
    ...actors.flatMap(({ kind, handlers }) => [...handlers.keys()].map((method) => `${kind}.${method}`)),
    ...projections.flatMap(({ kind, handlers }) => handlers.map(({ event }) => `${kind}<${event.typeName}`)),
  ];
  return createHash("sha256").update(names.sort().join("\n")).digest("hex").slice(0, 16);
}

/** Starts a worker: it joins its group, takes over its share of the logs and works on them until it is stopped. */
export function startWorker(options: WorkerOptions): Worker {
  const worker = new GroupWorker(options);
  worker.start();
  return worker;
}

class GroupWorker implements Worker {
  readonly #options: WorkerOptions;
  readonly #contracts: string;
  readonly #membership: Membership;
  readonly #readers: Readers;
  readonly #holdings = new Map<number, Holding>();
  /** Monotonic time before which a log is not claimed. */
  readonly #notBeforeMs = new Map<number, number>();
  readonly #combiners: TakeoverOptions["combiners"];
  readonly #turn = new Turn();
  readonly #room: JournalRoom;
  readonly #halted = new Map<number, string>();
  readonly #misplacedSinceMs = new Map<number, number>();
  readonly #actors: ReadonlyMap<string, ActorDefinition>;
  #timer: TimerHandle | undefined;
  #isStopping = false;
  #purgedMs = 0;
  #journalPurgedMs = 0;
  readonly #sweep: TimerSweep;

  constructor(options: WorkerOptions) {
    this.#options = options;
    const { bus, clock, topology, group, workerId, actors, projections } = options;
    this.#contracts = contractsHash(actors, projections);
    this.#actors = new Map(actors.map((definition) => [definition.kind, definition]));
    const contracts = this.#contracts;
    const knows = [
      ...actors.flatMap(({ kind, handlers }) => [...handlers.keys()].map((rpc) => rpcHash(kind, rpc))),
      rpcHash(TRIM_KIND, TRIM_METHOD),
    ];
    this.#membership = new Membership({ bus, clock, topology, group, workerId, contracts, knows });
    this.#combiners = { records: new BatchCombiner(bus), events: new BatchCombiner(bus) };
    this.#room = new JournalRoom(bus, clock, topology.streams.log);
    this.#sweep = new TimerSweep(bus, clock, topology, group);
    this.#readers = new Readers({ bus, clock, topology, group });
  }

  start(): void {
    this.#membership.start();
    this.#tick();
  }

  owned(): readonly number[] {
    return [...this.#holdings].filter(([, holding]) => holding.isReady).map(([log]) => log);
  }

  problem(): string | undefined {
    const [halted] = this.#halted;
    if (halted) return `log ${this.#options.group}.${halted[0]} stands still: ${halted[1]}`;
    if (!this.#options.bus.isConnected()) return "not connected to NATS";
    return undefined;
  }

  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    const { clock, log } = this.#options;
    await this.#membership.leave();
    for (const { owner, abort } of this.#holdings.values()) {
      if (owner === undefined) abort.abort();
      else owner.release();
    }
    const all = Promise.all([...this.#holdings.values()].map(({ ended }) => ended));
    const hasEnded = await Promise.race([all.then(() => true), sleep(clock, STOP_MS_MAX).then(() => false)]);
    if (!hasEnded) log.warn({ logs: [...this.#holdings.keys()] }, "gave up handing logs over");
    for (const { abort } of this.#holdings.values()) abort.abort();
    this.#timer?.cancel();
    this.#readers.close();
    await this.#membership.close();
  }

  #tick(): void {
    if (!this.#isStopping) this.#timer = this.#options.clock.setTimer(() => this.#tick(), TICK_MS);
    this.#membership.tick();
    this.#readers.tick();
    this.#publishLoads();
    const live = this.#membership.live();
    const { group, topology, workerId } = this.#options;
    const reluctance = (worker: string, log: number) => this.#membership.reluctance(worker, log);
    const placement = placeLogs(group, topology.group(group).logs, live, reluctance);
    placement.forEach((worker, log) => {
      if (worker === workerId) this.#wantLog(log);
      else this.#leaveLog(log);
    });
    this.#inBackground(this.#look());
    this.#purge();
  }

  /** What the room in the journal allows may have changed. */
  async #look(): Promise<void> {
    const wasShort = this.#room.isShort;
    await this.#room.look();
    if (!wasShort && !this.#room.isShort) return;
    for (const { owner } of this.#holdings.values()) owner?.hurry();
  }

  #wantLog(log: number): void {
    this.#misplacedSinceMs.delete(log);
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#holdings.has(log) || this.#halted.has(log) || nowMs < (this.#notBeforeMs.get(log) ?? 0)) return;
    const holding: Holding = {
      abort: new AbortController(),
      owner: undefined,
      isReady: false,
      ended: Promise.resolve(),
    };
    this.#holdings.set(log, holding);
    holding.ended = this.#hold(log, holding).finally(() => {
      this.#readers.remove(log);
      this.#holdings.delete(log);
    });
  }

  #leaveLog(log: number): void {
    const holding = this.#holdings.get(log);
    if (holding?.owner === undefined) return;
    const nowMs = this.#options.clock.monotonicMs();
    const sinceMs = this.#misplacedSinceMs.get(log) ?? nowMs;
    this.#misplacedSinceMs.set(log, sinceMs);
    if (nowMs - sinceMs >= SETTLED_MS) holding.owner.release();
  }

  /** One ownership from claim to end. Never throws. */
  async #hold(log: number, holding: Holding): Promise<void> {
    const { clock, group } = this.#options;
    const logger = this.#options.log.child({ component: "log", group, log });
    const takeover = this.#takeoverOptions(log, holding);
    try {
      const end = await logEnd(takeover);
      const { owner } = end.commit;
      const mayClaim = owner === "" || owner === this.#membership.life || this.#membership.isGone(owner);
      if (!mayClaim || holding.abort.signal.aborted) return;
      const claimed = await takeOver(takeover, end);
      if (claimed === undefined) return this.#pause(log, LIMITS.leaseMs);
      logger.info(
        { epoch: Number(claimed.epoch), before: owner, takeovers: claimed.takeovers },
        "took the log over",
      );
      const ownerOptions = { ...takeover, ...this.#ownerOptions(log, holding, logger) };
      const logOwner = new LogOwner(ownerOptions, await this.#judged(claimed, holding.abort.signal));
      holding.owner = logOwner;
      if (this.#isStopping) logOwner.release();
      const outcome = await logOwner.run(() => {
        holding.isReady = true;
        this.#readers.add(logOwner);
      });
      this.#ended(log, logger, outcome);
    } catch (error) {
      this.#failed(log, logger, error, holding.abort.signal.aborted);
    } finally {
      if (clock.monotonicMs() >= (this.#notBeforeMs.get(log) ?? 0)) this.#pause(log, TICK_MS);
    }
  }

  /**
   * J12: what an owner had announced is set aside only if it has died of it. One that was cut off loses its log like
   * one that is dead, but its lease comes back.
   */
  async #judged(claimed: Claimed, signal: AbortSignal): Promise<Claimed> {
    const { poison } = claimed;
    if (poison === undefined) return claimed;
    const { clock } = this.#options;
    const sinceMs = clock.monotonicMs();
    while (!signal.aborted) {
      const hasLivedOn = this.#membership.hasLivedOn(poison.owner, sinceMs);
      if (hasLivedOn === true) return { ...claimed, poison: undefined };
      if (hasLivedOn === false) return claimed;
      await sleep(clock, TICK_MS, signal);
    }
    return claimed;
  }

  #takeoverOptions(log: number, { abort }: Holding): TakeoverOptions {
    const { bus, clock, random, topology, group } = this.#options;
    return {
      bus,
      clock,
      random,
      topology,
      group,
      log,
      workerId: this.#membership.life,
      contracts: this.#contracts,
      combiners: this.#combiners,
      signal: abort.signal,
    };
  }

  #ownerOptions(
    log: number,
    { abort }: Holding,
    logger: Logger,
  ): Omit<LogOwnerOptions, keyof TakeoverOptions> {
    return {
      recordsCachedMax: this.#options.recordsCachedMax ?? LIMITS.recordsCachedMax,
      logger,
      abort,
      actors: this.#actors,
      turn: this.#turn,
      room: this.#room,
      projections: this.#options.projections,
      hasOtherBuild: () => this.#membership.hasOtherBuild(),
      isLeftToOthers: (kind, method) => this.#membership.decline(log, kind, method),
      lease: this.#membership,
      ...(this.#options.tasks && { tasks: this.#options.tasks }),
      onDeadLetter: (kind, reason) => this.#options.onDeadLetter?.(kind, reason),
    };
  }

  #ended(log: number, logger: Logger, outcome: OwnerEnd): void {
    logger.info({ outcome }, "the log is given up");
    if (outcome === "fenced" || outcome === "failed") this.#pause(log, LIMITS.leaseMs);
  }

  #failed(log: number, logger: Logger, error: unknown, isAborted: boolean): void {
    if (error instanceof HaltError) {
      this.#halted.set(log, error.message);
      logger.error({ err: error }, "the log stands still: an operator must act");
      return;
    }
    this.#pause(log, error instanceof BusError ? LIMITS.retryDelayMs : LIMITS.leaseMs);
    if (isAborted || error instanceof BusError || error instanceof FencedError) return;
    logger.error({ err: error }, "taking the log over failed");
  }

  #pause(log: number, delayMs: number): void {
    this.#notBeforeMs.set(log, this.#options.clock.monotonicMs() + delayMs);
  }

  #publishLoads(): void {
    const { bus, topology, group } = this.#options;
    for (const [log, { owner, isReady }] of this.#holdings) {
      if (owner === undefined || !isReady) continue;
      bus.publish(topology.load(group, log), encode(LoadSchema, owner.load()));
      owner.tick();
    }
  }

  #purge(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const everyMs = this.#room.isShort ? LIMITS.upkeepShortMs : LIMITS.purgeEveryMs;
    if (nowMs - this.#purgedMs < everyMs) return;
    this.#purgedMs = nowMs;
    const { bus, topology, group } = this.#options;
    for (const { owner, isReady } of this.#holdings.values()) {
      if (owner !== undefined && isReady) this.#inBackground(purgeInbox(bus, topology, group, owner));
    }
    const ownerOf = (log: number) => this.#holdings.get(log)?.owner;
    this.#inBackground(this.#sweep.step(ownerOf));
    if (this.#holdings.size > 0) this.#inBackground(this.#purgeJournal(nowMs, ownerOf(0) !== undefined));
  }

  async #purgeJournal(nowMs: number, isMine: boolean): Promise<void> {
    const { bus, clock, topology } = this.#options;
    const isDue = nowMs - this.#journalPurgedMs >= LIMITS.journalPurgeEveryMs;
    if (!isMine || (!isDue && !this.#room.isShort)) return;
    this.#journalPurgedMs = nowMs;
    await purgeJournal(bus, clock, topology, this.#room.pressure >= LIMITS.logAgeWaivedAt);
    const { group, eventsAgeMsMax } = this.#options;
    if (eventsAgeMsMax !== undefined && topology.group(group).reads === "events")
      await purgeEvents(bus, clock, topology, eventsAgeMsMax);
  }

  #inBackground(work: Promise<void>): void {
    work.catch((error: unknown) => this.#options.log.error({ err: error }, "upkeep failed"));
  }
}
