import { fromBinary } from "@bufbuild/protobuf";
import { MarkSchema } from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { SimActor } from "../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import type { StreamStatus } from "../../actors/runtime/bus/bus.ts";
import { CallError } from "../../actors/runtime/client.ts";
import { LIMITS } from "../../actors/runtime/limits.ts";
import { sleep } from "../../platform/clock.ts";
import type { Dice } from "./dice.ts";
import type { ScriptInit } from "./diary-actor.ts";
import type { FoldedLog, Report } from "./fold.ts";
import type { Observer } from "./observer.ts";
import type { Plan } from "./plan.ts";
import type { Member, System } from "./system.ts";

/** What happens to the store once everything is judged. */
export type Ending = "full-journal" | "rolled-back" | "created-again" | "gap";

const POLL_MS = 100;
/** J24: commands are refused from here on, once the client has looked: it does so each second. */
const ADMISSION_AT = 0.8;
/** Commits go on: a little less, and they are refused again. */
const PURGED_AT = 0.75;
const ADMISSION_SEEN_MS = 1_500;
/** A purge comes every five seconds; what an idle log has read it writes down within another. */
const PURGED_MS_MAX = 20_000;
/** What came before the refusals is worked off first, and limits may be small. */
const ACCEPTED_MS_MAX = 60_000;
const CALL_MS_MAX = 60_000;
/** What a journal holds at least that is filled: a commit must be small beside the room that is kept. */
const JOURNAL_BYTES_MIN = 60_000;
const BALLAST_COMMANDS = 32;
/** What an op is made longer by: it is in the record, and in the answer that is remembered. */
const PAD_LENGTHS = [20, 500];
const LIMIT_SEEN_MS = LIMITS.purgeEveryMs + 1_000;
/** While there is one they look at each tick. */
const LIMIT_CHANGE_SEEN_MS = 250;
const BURST_EVERY_MS = 5;
const BURST_COMMANDS_MAX = 400;
/** Whoever dies in the burst is missed until the journal has been purged and filled again. */
const LONG_LEASE = { leaseMs: 3_000, leaseSuspectMs: 1_500 };
/**
 * What a burst is beside logs whose owner is dead: commands for all logs, or such that send those logs messages, or
 * some that send messages on and on among the others.
 */
const BURSTS = ["for-all", "for-all", "letters", "letters", "chains"] as const;
const CHAINS = 4;
const CHAIN_HOPS = 40;
/** Logs that move to a worker that has just come are its own by then. */
const STAFFED_MS_MAX = 8_000;
/** From the start of a worker to the takeover of a log whose owner is gone. */
const TAKEN_MS = 2_500;

type Sends = NonNullable<ScriptInit["sends"]>;

const STANDS_STILL = "J4 a log stands still whose input is another one";

/** What an ending needs. */
export interface EpilogueOptions {
  readonly plan: Plan;
  readonly system: System;
  readonly observer: Observer;
  readonly dice: Dice;
  readonly report: Report;
}

/** Faults of the store itself, at the end of some schedules: the system recovers, or stands still and says so. */
export class Epilogue {
  readonly #options: EpilogueOptions;
  readonly #pad: string;
  /** Half of the time all that fills the journal is for one log, while the others are idle. */
  readonly #isSpread: boolean;
  #opened = 0;

  constructor(options: EpilogueOptions) {
    this.#options = options;
    this.#pad = "-".repeat(options.dice.pick(PAD_LENGTHS));
    this.#isSpread = options.dice.chance(0.5);
  }

  async run(ending: Ending, member: Member): Promise<void> {
    if (ending === "full-journal") await this.#fill(member);
    else await this.#replace(ending);
  }

  /**
   * J24: nearly full, the journal refuses commands, is purged whatever its age, and takes commands again, also where
   * many come before it is known how full it is.
   */
  async #fill(member: Member): Promise<void> {
    const { system, observer, dice, report } = this.#options;
    const { log } = system.topology.streams;
    const { clock } = observer;
    Object.assign(LIMITS, LONG_LEASE);
    await this.#staff();
    await this.#ballast(member);
    system.nats.setBytesMax(log, JOURNAL_BYTES_MIN * 100);
    await sleep(clock, LIMIT_SEEN_MS); // workers look at the room that is left only where there is a limit
    const { bytes } = await observer.bus.status(log);
    // Where nothing is kept for its age it has been purged meanwhile, and only a burst fills it.
    const bytesMax = Math.ceil(Math.max(bytes, JOURNAL_BYTES_MIN) / dice.pick([0.82, 0.87, 0.93]));
    system.nats.setBytesMax(log, bytesMax);
    if (dice.chance(0.2) && bytes >= JOURNAL_BYTES_MIN) await this.#desert(member);
    else await sleep(clock, LIMIT_CHANGE_SEEN_MS);
    const burst = dice.chance(0.9) ? this.#burst(member) : Promise.resolve();
    const pressure = async () => (await observer.bus.status(log)).bytes / bytesMax;
    const fromMs = clock.monotonicMs();
    /** A purge may make just enough room for the commits that fill it again. */
    let rightMs = fromMs;
    for (;;) {
      await sleep(clock, POLL_MS);
      const elapsedMs = clock.monotonicMs() - fromMs;
      const now = await pressure();
      if (now <= PURGED_AT) break;
      if (now <= ADMISSION_AT || member.client?.refusal() !== undefined) rightMs = clock.monotonicMs();
      if (clock.monotonicMs() - rightMs > ADMISSION_SEEN_MS)
        return report("J24 admission stops at 80 %", `the journal is ${now.toFixed(3)} full`);
      if (elapsedMs > PURGED_MS_MAX)
        return report(
          "J24 a full journal is purged",
          `${now.toFixed(3)} of it are still taken: ${await this.#held()}`,
        );
    }
    await burst;
    let refusal = member.client?.refusal();
    for (const untilMs = clock.monotonicMs() + ACCEPTED_MS_MAX; refusal && clock.monotonicMs() < untilMs;) {
      await sleep(clock, POLL_MS);
      refusal = member.client?.refusal();
    }
    if (refusal !== undefined) return report("J24 admission goes on", refusal.reason);
    await this.#open(member, "epilogue");
  }

  /** Nobody is there to make room for a while. */
  async #desert({ client }: Member): Promise<void> {
    const { system, observer, report } = this.#options;
    const roles = ["worker", "analytics"] as const;
    for (const role of roles) for (const { process } of system.members(role)) process.crash();
    await sleep(observer.clock, ADMISSION_SEEN_MS);
    if (client?.refusal() === undefined) report("J24 admission stops at 80 %", "commands are accepted");
    for (const role of roles) system.spawn(role);
  }

  /** Fills the journal with so much that its limit can be a real one. */
  async #ballast(member: Member): Promise<void> {
    const { system, observer } = this.#options;
    for (;;) {
      await Promise.all(Array.from({ length: BALLAST_COMMANDS }, () => this.#open(member, this.#key())));
      const { bytes } = await observer.bus.status(system.topology.streams.log);
      if (bytes >= JOURNAL_BYTES_MIN) return;
    }
  }

  /** Logs are shared by two workers, where there is more than one log. */
  async #staff(): Promise<void> {
    const { system, observer, plan } = this.#options;
    while (plan.logs > 1 && system.members("worker").length < 2) system.spawn("worker");
    const share = Math.min(plan.logs, system.members("worker").length);
    const untilMs = observer.clock.monotonicMs() + STAFFED_MS_MAX;
    while (this.#owners().length < share && observer.clock.monotonicMs() < untilMs)
      await sleep(observer.clock, POLL_MS);
  }

  #owners(): readonly Member[] {
    return this.#options.system.members("worker").filter(({ worker }) => worker?.owned().length !== 0);
  }

  /**
   * Commands until they are refused, mostly while the logs of all workers but one wait to be taken over: what they have
   * read is not written down meanwhile, so that nothing of the journal can go.
   */
  async #burst(member: Member): Promise<void> {
    const { system, observer, dice, plan } = this.#options;
    const all = Array.from({ length: plan.logs }, (_, log) => log);
    const owners = this.#owners();
    const alive = owners.length > 0 && dice.chance(0.9) ? dice.pick(owners) : undefined;
    if (alive !== undefined)
      for (const owner of system.members("worker")) if (owner !== alive) owner.process.crash();
    const live = alive?.worker?.owned() ?? all;
    const dead = all.filter((log) => !live.includes(log));
    const kind = dead.length === 0 ? "commands" : dice.pick(BURSTS);
    const calls: Promise<void>[] = [];
    while (member.client?.refusal() === undefined && calls.length < BURST_COMMANDS_MAX) {
      const from = dice.pick(live);
      if (kind === "commands") calls.push(this.#open(member, this.#key()));
      else if (kind === "for-all") calls.push(this.#open(member, this.#key(dice.pick(all))));
      else if (kind === "letters") {
        const letter = { to: this.#key(dice.pick(dead)), amount: 0n };
        calls.push(this.#open(member, this.#key(from), [letter]));
      } else if (calls.length < CHAINS)
        calls.push(this.#open(member, this.#key(from), this.#chain(CHAIN_HOPS, live, from)));
      await sleep(observer.clock, BURST_EVERY_MS);
    }
    await Promise.all(calls);
  }

  #key(log?: number): string {
    const { system, plan } = this.#options;
    const [tenant = ""] = plan.tenants;
    for (;;) {
      const key = `fill-${this.#opened++}`;
      const place = system.topology.logOf("core", tenant, key);
      if (log === undefined ? this.#isSpread || place === 0 : place === log) return key;
    }
  }

  /** A message that has the next one sent, from log to log. */
  #chain(hops: number, logs: readonly number[], from: number): Sends {
    if (hops === 0) return [];
    const at = logs[(logs.indexOf(from) + 1) % logs.length] ?? 0;
    const to = this.#key(at);
    return [{ to, amount: 0n, script: { op: to, sends: this.#chain(hops - 1, logs, at) } }];
  }

  /** What every log still needs of the journal. */
  async #held(): Promise<string> {
    const { system, observer } = this.#options;
    const { topology } = system;
    const { streams } = topology;
    const held = [...observer.fold.logs.values()].map(async ({ name, last, positions }) => {
      const [group = "", log = ""] = name.split(".");
      const position = positions.find(({ stream }) => stream === streams.log)?.sequence ?? "-";
      const marks = [
        await observer.bus.last(streams.actors, topology.mark(group, Number(log))),
        await observer.bus.last(streams.events, topology.eventMark(group, Number(log))),
      ].map((stored) => (stored === undefined ? "-" : fromBinary(MarkSchema, stored.data).logSequence));
      return `${name}@${last} has read ${position}, stored ${marks.join("/")}`;
    });
    return (await Promise.all(held)).join("; ");
  }

  async #open({ client }: Member, key: string, sends: Sends = []): Promise<void> {
    const { plan, report } = this.#options;
    const [tenant = ""] = plan.tenants;
    try {
      const options = { requestId: key, timeoutMs: CALL_MS_MAX };
      await client?.call(SimActor.method.open, { tenant, key }, { op: key + this.#pad, sends }, options);
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      report("J24 admission goes on", `a command is answered by ${String(error)}`);
    }
  }

  /** J3, J4: a log whose inputs cannot be those that it has read stands still, the others go on. */
  async #replace(ending: Exclude<Ending, "full-journal">): Promise<void> {
    const { system, observer, report } = this.#options;
    const { clock, fold } = observer;
    system.crashAll();
    observer.isDamaged = true;
    await sleep(clock, LIMITS.leaseMs * 2);
    // A fault may have had one started again meanwhile: nobody is to have a log while its input is exchanged.
    system.crashAll();
    const stream = await this.#damage(ending);
    const before = await observer.bus.status(stream);
    const logs = [...fold.logs.values()].map((log) => ({ log, last: log.last, positions: log.positions }));
    // First those that only read: what others write makes a stream that was cut as long as it was.
    for (const role of ["analytics", "worker"] as const) {
      system.spawn(role);
      await sleep(clock, LIMITS.leaseMs * 2 + TAKEN_MS);
    }
    // Where logs that go on purge, more is gone than when the others were taken over.
    const after = ending === "gap" ? before : await observer.bus.status(stream);
    const strange = logs.filter(({ positions }) => isAnother(ending, stream, after, positions));
    for (const { log, last, positions } of logs) {
      const goesOn = log.last > last;
      if (goesOn && isAnother(ending, stream, after, positions))
        report(STANDS_STILL, `${log.name} goes on, ${stream} is ${ending}`);
      // What is missing in a gap may show later.
      if (!goesOn && ending !== "gap" && !isAnother(ending, stream, before, positions))
        report("a log goes on whose input is as it was", `${log.name} stands still, ${stream} is ${ending}`);
    }
    // One that a fault had stopped may have come back meanwhile, and have the log that stands still.
    const members = [...system.members("worker"), ...system.members("analytics")];
    const isSilent = members.every(({ worker }) => worker?.problem() === undefined);
    if (isSilent && strange.length > 0) report(STANDS_STILL, "no worker says that it is unwell");
  }

  /** @returns the stream that is not what it was */
  async #damage(ending: Exclude<Ending, "full-journal">): Promise<string> {
    const { system, observer, dice } = this.#options;
    const { nats, topology } = system;
    const { inbox, events, log } = topology.streams;
    if (ending === "gap") {
      for (const { name, last } of observer.fold.logs.values())
        await observer.bus.purge(log, `log.${name}`, last);
      return log;
    }
    const stream = dice.pick([inbox, inbox, events]);
    if (ending === "created-again") nats.recreate(stream);
    else {
      const { lastSequence } = await observer.bus.status(stream);
      nats.rollBack(stream, Math.floor(lastSequence * dice.pick([0, 0.5, 0.9])));
    }
    return stream;
  }
}

/** True if a log with these positions has certainly read another stream than this one. */
function isAnother(
  ending: Ending,
  stream: string,
  { firstSequence, lastSequence }: StreamStatus,
  positions: FoldedLog["positions"],
): boolean {
  const position = positions.find((it) => it.stream === stream);
  const sequence = Number(position?.sequence ?? 0n);
  if (ending === "gap") return sequence > 0 && firstSequence > sequence + 1;
  return ending === "rolled-back" ? sequence > lastSequence : (position?.streamCreatedMs ?? 0n) !== 0n;
}
