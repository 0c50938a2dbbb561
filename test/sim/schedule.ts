import { fromBinary } from "@bufbuild/protobuf";
import { SimStateSchema } from "../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import { sleep } from "../../platform/clock.ts";
import { LIMITS } from "../../actors/runtime/limits.ts";
import { decode } from "../../actors/runtime/codec/decode.ts";
import { CallError } from "../../actors/runtime/client.ts";
import { Archive, leavesList } from "./archive.ts";
import { Dice } from "./dice.ts";
import { LIST } from "./diary-actor.ts";
import { Epilogue } from "./epilogue.ts";
import type { FoldedLog } from "./fold.ts";
import { historyHash } from "./history.ts";
import { Observer } from "./observer.ts";
import { Oracle } from "./oracle.ts";
import { drawPlan, type Plan } from "./plan.ts";
import { Restart } from "./restart.ts";
import { type Member, System } from "./system.ts";
import { Strangers } from "./strangers.ts";
import { VirtualTime } from "./virtual-time.ts";
import { Watchers } from "./watchers.ts";
import { Workload } from "./workload.ts";

/** What became of one schedule. */
export interface ScheduleResult {
  readonly seed: number;
  readonly steps: number;
  readonly virtualMs: number;
  readonly commits: number;
  readonly takeovers: number;
  readonly reads: number;
  readonly violation: { readonly invariant: string; readonly detail: string } | undefined;
  readonly trace: readonly string[];
  /** Of everything that was stored, if it was asked for. */
  readonly hash: string;
}

/** What else is wanted of a schedule. */
export interface ScheduleOptions {
  readonly isTraced?: boolean;
  readonly isHashed?: boolean;
}

/** From healing on, the system comes to rest within this (I14). */
const REST_MS_MAX = 30_000;
/** Timers that were lost are looked for slowly; a task that rests is due by the clock of the worker that failed. */
const LONG_REST_MS_MAX = 60_000;
const REST_POLL_MS = 100;
/** After rest, what is still on its way must change nothing. */
const QUIET_MS = 700;
/** A watch that lost its first question asks again. */
const WATCH_MS_MAX = 10_000;
const EPILOGUE_MS_MAX = 90_000;
/** One schedule in so many is read with protobuf's own reader: it does not share the faults of ours. */
const READ_APART_EVERY = 8;
const TRACE_LINES_MAX = 40_000;

const USUAL_LIMITS = { ...LIMITS };

/** Runs one schedule from start to judgement. Call in a macrotask; returns when it is over. */
export function runSchedule(seed: number, options: ScheduleOptions = {}): ScheduleResult {
  const plan = drawPlan(seed);
  const { stackTraceLimit } = Error;
  if (options.isTraced !== true) Error.stackTraceLimit = 0; // errors are part of a schedule's daily life
  // The simulator's loader has left this object open; everywhere else it is frozen.
  Object.assign(LIMITS, USUAL_LIMITS, plan.limits);
  const schedule = new Schedule(plan, options);
  try {
    return schedule.run();
  } finally {
    schedule.close();
    Object.assign(LIMITS, USUAL_LIMITS);
    Error.stackTraceLimit = stackTraceLimit;
  }
}

class Schedule {
  readonly #plan: Plan;
  readonly #time: VirtualTime;
  readonly #system: System;
  readonly #observer: Observer;
  readonly #workload: Workload;
  readonly #watchers: Watchers;
  readonly #oracle: Oracle;
  readonly #epilogue: Epilogue;
  readonly #restart: Restart;
  readonly #strangers: Strangers;
  readonly #archive: Archive;
  readonly #isTraced: boolean;
  readonly #isHashed: boolean;
  readonly #trace: string[] = [];
  #violation: ScheduleResult["violation"];
  #isDone = false;

  constructor(plan: Plan, { isTraced = false, isHashed = false }: ScheduleOptions) {
    this.#plan = plan;
    this.#isTraced = isTraced;
    this.#isHashed = isHashed;
    this.#time = new VirtualTime(new Dice(plan.seed, "ties").random);
    const report = (invariant: string, detail: string) => this.#report(invariant, detail);
    const trace = (text: () => string) => this.#note(text);
    const onClient = (member: Member) => this.#watchers.add(member);
    const onDoubt = (member: Member) => this.#workload.readAll(member, plan.tenants, plan.keys);
    this.#system = new System(plan, this.#time, { trace, report, onClient, onDoubt });
    const isApart = plan.seed % READ_APART_EVERY === 0;
    this.#observer = new Observer(
      this.#system.nats,
      this.#system.topology,
      this.#time.clock(),
      report,
      isApart ? fromBinary : decode,
    );
    this.#observer.eventsAgeMsMax = (plan.eventsAgeMsMax ?? Infinity) - plan.skewMsMax;
    this.#strangers = new Strangers(plan, report);
    this.#archive = new Archive(plan, this.#system, report);
    this.#watchers = new Watchers(plan, this.#observer, new Dice(plan.seed, "watchers"), report);
    this.#workload = new Workload(
      this.#system,
      this.#observer,
      new Dice(plan.seed, "callers"),
      report,
      trace,
    );
    const { nats, topology } = this.#system;
    if (isTraced) {
      this.#observer.onMark = (says) => this.#note(() => `mark ${says}`);
      const note = ({ subject, sequence }: { subject: string; sequence: number }) =>
        this.#note(() => `stored ${subject} ${sequence}`);
      for (const stream of Object.values(topology.streams)) {
        if (stream !== topology.streams.leases)
          nats.connect("observer").read({ stream, filters: [">"], from: { sequence: 1 }, onMessage: note });
      }
    }
    const parts = { plan, system: this.#system, observer: this.#observer, workload: this.#workload, report };
    this.#oracle = new Oracle(parts);
    this.#epilogue = new Epilogue({ ...parts, dice: new Dice(plan.seed, "ending") });
    this.#restart = new Restart({ ...parts, dice: new Dice(plan.seed, "restarting") });
  }

  run(): ScheduleResult {
    const { ops, faults, healMs, timersLostMs, eventsCopiedMs, strangersMs, trimsMs } = this.#plan;
    this.#system.start();
    for (const op of ops) this.#time.setTimer(() => this.#workload.start(op), op.atMs);
    for (const fault of faults) this.#time.setTimer(() => this.#system.apply(fault), fault.atMs);
    if (timersLostMs !== undefined) this.#time.setTimer(() => void this.#observer.loseTimers(), timersLostMs);
    if (eventsCopiedMs !== undefined)
      this.#time.setTimer(() => void this.#observer.copyEvents(), eventsCopiedMs);
    for (const ms of trimsMs) this.#time.setTimer(() => this.#trim(), ms);
    for (const ms of strangersMs) this.#time.setTimer(() => this.#lookStrangely(), ms);
    this.#time.setTimer(() => this.#heal(), healMs);
    const onRejection = (reason: unknown) =>
      this.#report(
        "no unhandled rejection",
        reason instanceof Error ? (reason.stack ?? reason.message) : String(reason),
      );
    process.on("unhandledRejection", onRejection);
    try {
      this.#time.run(healMs + 2 * LONG_REST_MS_MAX + EPILOGUE_MS_MAX, () => this.#isDone);
    } catch (error) {
      this.#report("the simulation itself", error instanceof Error ? (error.stack ?? "") : String(error));
    } finally {
      process.off("unhandledRejection", onRejection);
    }
    return this.#result();
  }

  #trim(): void {
    // What is not answered is tried again by the next one.
    for (const { client } of this.#system.clients())
      if (client) this.#archive.work(client).catch(() => undefined);
  }

  #lookStrangely(): void {
    for (const member of this.#system.clients()) void this.#strangers.look(member);
  }

  close(): void {
    this.#system.close();
  }

  #result(): ScheduleResult {
    const logs = [...this.#observer.fold.logs.values()];
    return {
      seed: this.#plan.seed,
      steps: this.#time.steps,
      virtualMs: this.#time.nowMs,
      commits: logs.reduce((sum, log) => sum + log.commits, 0),
      takeovers: logs.reduce((sum, log) => sum + Number(log.epoch), 0),
      reads: this.#workload.reads,
      violation: this.#violation,
      trace: this.#trace,
      hash: this.#isHashed ? historyHash(this.#system, this.#time) : "",
    };
  }

  #report(invariant: string, detail: string): void {
    if (this.#violation !== undefined) return;
    this.#note(() => `VIOLATED ${invariant}: ${detail}`);
    this.#violation = { invariant, detail };
    this.#isDone = true;
  }

  #note(text: () => string): void {
    if (!this.#isTraced) return;
    this.#trace.push(`${String(Math.round(this.#time.nowMs)).padStart(6)} ${text()}`);
    if (this.#trace.length > 2 * TRACE_LINES_MAX) this.#trace.splice(0, TRACE_LINES_MAX);
  }

  #heal(): void {
    this.#note(() => "healed");
    this.#system.heal();
    const { messageBytesMax, headerBytesMax, commitBytesMax, recordBytesMax, causalDepthMax } = USUAL_LIMITS;
    Object.assign(LIMITS, {
      messageBytesMax,
      headerBytesMax,
      commitBytesMax,
      recordBytesMax,
      causalDepthMax,
    });
    this.#workload.settle();
    this.#waitForRest(this.#time.nowMs + this.#restMsMax(), () => void this.#finish());
  }

  #restMsMax(): number {
    const { timersLostMs, areRestsLong } = this.#plan;
    return timersLostMs === undefined && !areRestsLong ? REST_MS_MAX : LONG_REST_MS_MAX;
  }

  #waitForRest(untilMs: number, then: () => void): void {
    const unrest = this.#oracle.unrest();
    if (unrest === undefined) return then();
    if (this.#time.nowMs > untilMs) return this.#report("the system comes to rest", unrest);
    this.#time.setTimer(() => this.#waitForRest(untilMs, then), REST_POLL_MS);
  }

  /** Sends the dead letters again, waits until nothing moves, and judges. */
  async #finish(): Promise<void> {
    const [member] = this.#system.clients();
    const client = member?.client;
    if (member === undefined || client === undefined)
      return this.#report("the simulation itself", "there is no client at the end");
    this.#system.isBroken = false;
    for (const id of this.#oracle.letters.redrivable()) {
      // Two operators press the button.
      const redrive = () => this.#retried(member, () => client.redriveDeadLetter(id));
      await Promise.all([redrive(), redrive()]);
    }
    this.#oracle.letters.isRedriven = true;
    this.#time.setTimer(() => {
      this.#waitForRest(this.#time.nowMs + this.#restMsMax(), () => void this.#judge(member));
    }, QUIET_MS);
  }

  async #judge(member: Member): Promise<void> {
    const { client, process } = member;
    if (client === undefined) return;
    this.#oracle.judge();
    const young = this.#observer.droppedYoung();
    if (young !== undefined) this.#report("J15 events are kept as long as asked", `${young} is gone`);
    if (this.#plan.trimsMs.length > 0) await this.#retried(member, () => this.#archive.finish(member));
    for (const tenant of this.#plan.tenants) {
      const page = await this.#retried(member, () => client.list(tenant, LIST, undefined, 1_000, () => true));
      const listed = page.entries.map(({ id }) => id).toSorted();
      const expected = this.#oracle.listed(tenant).filter((id) => !leavesList(id) || listed.includes(id));
      if (listed.join() !== expected.join())
        this.#report("lists are complete", `${tenant}: ${listed.join(" ")} instead of ${expected.join(" ")}`);
      await this.#checkReads(member, tenant);
    }
    const untilMs = this.#time.nowMs + WATCH_MS_MAX;
    const missing = () => this.#watchers.missing(this.#oracle.eventCounts());
    while (missing() !== undefined && this.#time.nowMs < untilMs) await sleep(process.clock, REST_POLL_MS);
    const gap = missing();
    if (gap !== undefined) this.#report("watches have no gap and no repeat", gap);
    this.#note(() => `judged by ${process.name}`);
    const { ending, isHeardOut, isRestarted } = this.#plan;
    if (isHeardOut) await this.#hearOut();
    if (isRestarted) {
      this.#note(() => "at last: everything starts again");
      await this.#restart.run(member);
    }
    if (ending !== undefined) {
      this.#note(() => `at last: ${ending}`);
      await this.#epilogue.run(ending, member);
    }
    this.#isDone = true;
  }

  /** J5: an idle log writes down once what it has passed; that others do so is no reason to do it again. */
  async #hearOut(): Promise<void> {
    const { fold, clock } = this.#observer;
    const sum = (count: (log: FoldedLog) => number) =>
      [...fold.logs.values()].reduce((total, log) => total + count(log), 0);
    const idle = () => sum((log) => log.idleCommits);
    const others = () => sum((log) => log.commits - log.idleCommits);
    const othersBefore = others();
    await sleep(clock, 3 * LIMITS.idlePositionMs);
    const before = idle();
    await sleep(clock, 3 * LIMITS.idlePositionMs);
    if (others() === othersBefore && idle() !== before)
      this.#report("J5 idle logs fall silent", `${idle() - before} commits of nothing`);
  }

  /** What the owners answer is what the journal says. */
  async #checkReads(member: Member, tenant: string): Promise<void> {
    const { client } = member;
    if (client === undefined) return;
    const { fold } = this.#observer;
    for (const key of this.#plan.keys) {
      const { state, revision } = await this.#retried(member, () =>
        client.read("sim", SimStateSchema, { tenant, key }),
      );
      const version = fold.latest(`sim.${tenant}.${key}`);
      const expected = version === undefined ? undefined : fold.state(version);
      const diary = expected?.diary.join(" ") ?? "";
      if ((state?.diary.join(" ") ?? "") !== diary)
        this.#report(
          "reads equal the journal",
          `${tenant}.${key} at ${revision}: ${state?.diary.join(" ")}, not ${diary}`,
        );
    }
  }

  async #retried<T>({ process }: Member, run: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await run();
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        this.#note(() => `again after ${String(error)}`);
        await sleep(process.clock, 100);
      }
    }
  }
}
