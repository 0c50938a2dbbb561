import { fromBinary } from "@bufbuild/protobuf";
import {
  Ending,
  type SimState,
  SimTotalsSchema,
} from "../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import type { Report } from "./fold.ts";
import { LetterOracle, opOf } from "./letter-oracle.ts";
import { LifeOracle } from "./life-oracle.ts";
import type { Observer } from "./observer.ts";
import { isShortLived } from "./plan-short-lived.ts";
import { checkPrivate } from "./private-oracle.ts";
import type { Plan } from "./plan.ts";
import { type OpInfo, plannedOps } from "./planned-ops.ts";
import type { System } from "./system.ts";
import { START_MS } from "./virtual-time.ts";
import type { CallRecord, Workload } from "./workload.ts";

/** What the oracle needs. */
export interface OracleOptions {
  readonly plan: Plan;
  readonly system: System;
  readonly observer: Observer;
  readonly workload: Workload;
  readonly report: Report;
}

/** Knows from the plan alone what must have come of each command that was applied. */
export class Oracle {
  readonly #options: OracleOptions;
  readonly #ops: ReadonlyMap<string, OpInfo>;
  readonly #lives: LifeOracle;
  readonly letters: LetterOracle;

  constructor(options: OracleOptions) {
    const { plan, observer, report } = options;
    this.#options = options;
    this.#ops = plannedOps(plan);
    const parts = { plan, report, ops: this.#ops, fold: observer.fold };
    this.letters = new LetterOracle(parts);
    this.#lives = new LifeOracle(parts);
  }

  /** What keeps the system from being at rest; undefined: nothing. */
  unrest(): string | undefined {
    const { plan, observer, workload } = this.#options;
    const { fold } = observer;
    const call = workload.pending();
    if (call !== undefined) return call;
    for (const log of fold.logs.values())
      if (log.carried > 0) return `${log.name} carries ${log.carried} messages`;
    for (const [name, versions] of fold.records) {
      const version = versions.at(-1);
      if (version === undefined) continue;
      const { timers, tasks } = fold.meta(version);
      const timer = timers.find(({ arm }) => !this.letters.isFiringDead(arm));
      if (timer !== undefined) return `${name} has the timer ${timer.name} (${timer.arm}) armed`;
      const task = tasks.find(({ givenUp }) => !givenUp);
      if (task !== undefined) return `${name} has the task ${task.id} open`;
    }
    const poison = plan.ops.find(
      (op) => op.type === "poison" && this.letters.lettersOfPoison(op).length === 0,
    );
    if (poison?.type === "poison") return `the poison ${poison.op} is not in the dead letters`;
    const states = this.#states();
    return (
      this.#unfinishedTask(states) ??
      this.#unappliedInput() ??
      this.#missingOp(states) ??
      observer.missing() ??
      this.#lag()
    );
  }

  /** The final judgement, once the system is at rest. */
  judge(): void {
    const states = this.#states();
    this.#checkDiaries(states);
    this.#checkOrder(states);
    this.#checkMoney(states);
    this.#checkCalls(states);
    checkPrivate(this.#options.workload, this.#options.report);
    this.letters.check();
    this.#checkDepths();
    this.#lives.check();
    this.#checkTotals(states);
  }

  /** Names of actors that are to be in the list of a tenant. */
  listed(tenant: string): readonly string[] {
    const { plan } = this.#options;
    const states = this.#states();
    const keys = plan.ops.flatMap((op) => {
      if (op.type !== "call" || op.tenant !== tenant || op.script.list !== true) return [];
      return states.get(`sim.${tenant}.${op.key}`)?.diary.includes(op.script.op) === true ? [op.key] : [];
    });
    return keys.toSorted();
  }

  /** Events of each actor, by `tenant.key`. */
  eventCounts(): ReadonlyMap<string, number> {
    return new Map([...this.#states()].map(([name, { events }]) => [name.slice("sim.".length), events]));
  }

  #states(): Map<string, SimState> {
    const { fold } = this.#options.observer;
    const states = new Map<string, SimState>();
    for (const [name, versions] of fold.records) {
      const version = versions.at(-1);
      if (version !== undefined && name.startsWith("sim.") && !isShortLived(keyOf(name)))
        states.set(name, fold.state(version));
    }
    return states;
  }

  #unfinishedTask(states: ReadonlyMap<string, SimState>): string | undefined {
    const { observer, system } = this.#options;
    for (const [id, { kind, tenant, key }] of observer.fold.tasks) {
      const name = `${kind}.${tenant}.${key}`;
      const state = isShortLived(key) ? this.#stateWith(name, (s) => isHeard(s, id)) : states.get(name);
      const outcomes = state?.tasks[id]?.outcomes ?? [];
      // While its owners could not work its time may pass: it is lost before it was ever stored.
      if (!system.provider.charges.has(id) && !outcomes.includes("lost"))
        return `task ${id} has never reached the provider`;
      if (observer.done.has(id) && !this.letters.isOutcomeDead(id) && !outcomes.includes("done"))
        return `task ${id} is done, its actor has heard ${outcomes.join(",") || "nothing"}`;
    }
    return undefined;
  }

  /** Accepted commands must have left a trace: in the diary, as a remembered answer, as a dead letter. */
  #unappliedInput(): string | undefined {
    const { observer, workload } = this.#options;
    const { fold } = observer;
    for (const [op, atMs] of observer.accepted) {
      const record = workload.calls.get(op);
      if (record === undefined || record.answer !== undefined) continue;
      const { tenant, key } = record.op;
      const versions = fold.records.get(`sim.${tenant}.${key}`);
      const last = versions?.at(-1);
      if (last !== undefined && fold.state(last).diary.includes(op)) continue;
      if (isShortLived(key)) continue; // it is gone, or was when the command came
      if (last !== undefined && fold.meta(last).answers.some(({ requestId }) => requestId === op)) continue;
      if (this.letters.letterOf(op) !== undefined) continue;
      const isAbsent = last === undefined || fold.meta(last).revision === 0n || record.op.method !== "open";
      if (isAbsent && record.op.method !== "open") continue; // it met no actor: refused, and not remembered
      return `command ${op}, accepted at ${atMs}, is not applied`;
    }
    return undefined;
  }

  /** What an applied script has caused must be applied, too. */
  #missingOp(states: ReadonlyMap<string, SimState>): string | undefined {
    for (const [name, { diary }] of states) {
      for (const op of diary) {
        for (const { to, script } of this.#ops.get(op)?.script.sends ?? []) {
          const child = script?.op ?? "";
          const target = this.#ops.get(child)?.name ?? "";
          const isThere = states.get(target)?.diary.includes(child) === true;
          if (!isThere && !this.letters.mayBeMissing(this.letters.letterOf(child)))
            return `message ${child} of ${op} (${name}) has not reached ${to}`;
        }
      }
    }
    return undefined;
  }

  /** Projections that have not seen all events. */
  #lag(): string | undefined {
    const { plan, observer } = this.#options;
    for (const tenant of plan.tenants) {
      const emitted = [...observer.fold.logs.values()].flatMap(({ events }) => events);
      const count = emitted.filter(({ event }) => event.tenant === tenant).length;
      const version = observer.fold.latest(`analytics.${tenant}.totals`);
      const seen =
        version === undefined ? 0 : fromBinary(SimTotalsSchema, observer.fold.meta(version).state).count;
      if (seen < count) return `the totals of ${tenant} have ${seen} of ${count} events`;
    }
    return undefined;
  }

  #checkDiaries(states: ReadonlyMap<string, SimState>): void {
    const { report } = this.#options;
    for (const [name, { anomalies, diary, tasks, timers, events }] of states) {
      const [anomaly] = anomalies;
      if (anomaly !== undefined) report("no anomalies", `${name}: ${anomaly}`);
      const armed = Object.values(timers).map(({ op }) => op);
      for (const [index, op] of diary.entries()) {
        const info = this.#ops.get(op);
        if (info?.name !== name)
          report("messages reach their actor", `${op} is in ${name}, belongs to ${info?.name}`);
        if (diary.indexOf(op) !== index) report("each message has one effect", `${name}: ${op} twice`);
        const parent = info?.parent;
        const parentName = parent === undefined ? undefined : this.#ops.get(parent)?.name;
        if (parent !== undefined && states.get(parentName ?? "")?.diary.includes(parent) !== true)
          report("nothing comes of what was not applied", `${name}: ${op} without ${parent}`);
        const taskCount = Object.values(tasks).filter((task) => task.op === op).length;
        if (taskCount !== (info?.script.tasks ?? 0))
          report("tasks as asked for", `${name}: ${op} has ${taskCount}`);
      }
      if (armed.length > 0) report("timers fire", `${name}: ${armed.join(" ")} never fired`);
      for (const [id, { op, outcomes }] of Object.entries(tasks))
        if (outcomes.length === 0) report("each task has an outcome", `${name}: ${op} (${id}) has none`);
      const emitted = diary.reduce((sum, op) => sum + (this.#ops.get(op)?.script.events ?? 0), 0);
      if (emitted !== events) report("events as asked for", `${name}: ${events} instead of ${emitted}`);
      this.#checkTimers(name, diary);
    }
  }

  /** Plays arming, cancelling and firing over in the order of the diary. */
  #checkTimers(name: string, diary: readonly string[]): void {
    const { report } = this.#options;
    const armed = new Map<string, string>();
    for (const op of diary) {
      const info = this.#ops.get(op);
      if (info?.kind === "alarm") {
        const fired = [...armed].find(([, waiting]) => waiting === op)?.[0];
        if (fired === undefined) report("timers fire once, and never after a cancel", `${name}: ${op}`);
        else armed.delete(fired);
      }
      for (const timer of info?.script.cancels ?? []) armed.delete(timer);
      for (const { name: timer = "", script } of info?.script.arms ?? []) armed.set(timer, script?.op ?? "");
    }
    for (const [timer, op] of armed) report("timers fire", `${name}: ${timer} for ${op} never fired`);
  }

  /** One sender's messages to one actor are applied in the order sent; those from the dead letters come later. */
  #checkOrder(states: ReadonlyMap<string, SimState>): void {
    const { report, observer } = this.#options;
    const redriven = new Set([...observer.fold.deadLetters.values()].map(opOf));
    for (const [sender, { diary }] of states) {
      const sent = new Map<string, string[]>();
      for (const op of diary) {
        for (const { to = "", script } of this.#ops.get(op)?.script.sends ?? []) {
          const list = sent.get(to) ?? [];
          sent.set(to, list);
          if (script?.op !== undefined && !redriven.has(script.op)) list.push(script.op);
        }
      }
      for (const [to, expected] of sent) {
        const target = `${sender.slice(0, sender.lastIndexOf("."))}.${to}`;
        const got = states.get(target)?.diary.filter((op) => expected.includes(op)) ?? [];
        if (got.join() !== expected.join())
          report(
            "messages arrive in the order sent",
            `${sender} to ${to}: ${expected.join(" ")}; got ${got.join(" ")}`,
          );
      }
    }
  }

  #checkMoney(states: ReadonlyMap<string, SimState>): void {
    let balance = 0n;
    let paidIn = 0n;
    for (const state of states.values()) {
      balance += state.balance;
      for (const op of state.diary) paidIn += this.#ops.get(op)?.script.amount ?? 0n;
    }
    if (balance !== paidIn) this.#options.report("money is conserved", `${balance} there, ${paidIn} paid in`);
  }

  #checkCalls(states: ReadonlyMap<string, SimState>): void {
    const { workload } = this.#options;
    for (const record of workload.calls.values()) this.#checkCall(record, states);
  }

  #checkCall({ op, answer, isDoubtful }: CallRecord, states: ReadonlyMap<string, SimState>): void {
    const { report, observer } = this.#options;
    const { script, tenant, key, method } = op;
    if (isShortLived(key)) return;
    const isApplied = states.get(`sim.${tenant}.${key}`)?.diary.includes(script.op) === true;
    const name = `${script.op} to ${tenant}.${key}`;
    if (answer?.startsWith("ok") === true && !isApplied)
      report("accepted means durable", `${name}: ${answer}, and gone`);
    if (answer?.startsWith("no") === true && isApplied)
      report("a refusal leaves no trace", `${name}: ${answer}`);
    if (answer === undefined && !isDoubtful && observer.accepted.has(script.op))
      report("what was not accepted is not stored", name);
    if (answer === "no REFUSED_BY_SCRIPT" && script.ending !== Ending.REFUSE)
      report("refusals as asked for", name);
    if (answer === "no NOT_FOUND" && method === "open") report("refusals as asked for", `${name}: ${answer}`);
    if (answer === "no ALREADY_OPEN" && method !== "open")
      report("refusals as asked for", `${name}: ${answer}`);
    if (answer === "dead" && this.letters.letterOf(script.op) === undefined)
      report("dead letters are kept", name);
  }

  /** The first version of the record that is so. */
  #stateWith(name: string, isSo: (state: SimState) => boolean): SimState | undefined {
    const { fold } = this.#options.observer;
    const version = fold.records.get(name)?.find((it) => isSo(fold.state(it)));
    return version && fold.state(version);
  }

  /** While the limit was low, nothing beyond it was applied. */
  #checkDepths(): void {
    const { plan, observer, report } = this.#options;
    const { causalDepthMax = Infinity, healMs } = plan;
    for (const [op, { name, depth }] of this.#ops) {
      if (depth <= causalDepthMax) continue;
      const versions = observer.fold.records.get(name) ?? [];
      const first = versions.find((version) => observer.fold.state(version).diary.includes(op));
      if (first !== undefined && first.atMs < START_MS + healMs)
        report("J8 a chain ends at its limit", `${name}: ${op}, ${depth} messages deep, is applied`);
    }
  }

  #checkTotals(states: ReadonlyMap<string, SimState>): void {
    const { observer, report } = this.#options;
    const { fold } = observer;
    for (const [name, { diary }] of states) {
      const [, tenant, key] = name.split(".");
      const expected = diary.flatMap((op) =>
        Array.from({ length: this.#ops.get(op)?.script.events ?? 0 }, () => op),
      );
      const version = fold.latest(`analytics.${tenant}.of-${key}`);
      const totals = version && fromBinary(SimTotalsSchema, fold.meta(version).state);
      const [anomaly] = totals?.anomalies ?? [];
      if (anomaly !== undefined) report("projections take each event once, in order", `${name}: ${anomaly}`);
      if ((totals?.ops ?? []).join() !== expected.join())
        report(
          "totals equal a recomputation",
          `${name}: ${totals?.ops.join(" ")} instead of ${expected.join(" ")}`,
        );
    }
    for (const tenant of this.#options.plan.tenants) {
      const version = fold.latest(`analytics.${tenant}.totals`);
      const seen = version === undefined ? 0 : fromBinary(SimTotalsSchema, fold.meta(version).state).count;
      const events = [...fold.logs.values()]
        .flatMap((log) => log.events)
        .filter(({ event }) => event.tenant === tenant);
      if (seen !== events.length)
        report("totals equal a recomputation", `${tenant}: ${seen} of ${events.length}`);
    }
  }
}

function keyOf(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1);
}

function isHeard({ tasks }: SimState, id: string): boolean {
  return tasks[id]?.outcomes.includes("done") === true;
}
