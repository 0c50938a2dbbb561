import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import {
  Ending,
  NotedSchema,
  type Parcel,
  type Script,
  type ScriptSchema,
  SimActor,
  SimStateSchema,
  SimTaskSchema,
  SimTimerSchema,
  SimTotalsSchema,
  TaskInputSchema,
  TaskResultSchema,
} from "../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import { create } from "@bufbuild/protobuf";
import { type ActorContext, type ActorDefinition, defineActor } from "../../actors/runtime/actor.ts";
import { DomainError } from "../../actors/runtime/domain-error.ts";
import { defineProjection, on } from "../../actors/runtime/projection.ts";
import { defineTaskQueue } from "../../actors/runtime/task-queue.ts";

export type ScriptInit = MessageInitShape<typeof ScriptSchema>;
type Context = ActorContext<typeof SimStateSchema>;
type State = MessageShape<typeof SimStateSchema>;

/** Work for the outside world, given up and lost within seconds. */
export const simQueue = defineTaskQueue({
  name: "sim",
  input: TaskInputSchema,
  output: TaskResultSchema,
  retry: { attemptsMax: 4, delayMsMin: 50, delayMsMax: 400, timeoutMs: 400, deadlineMs: 2_500 },
});

/** The same with rests so long that they are schedules, and that purges come meanwhile; never given up. */
export const restingQueue: typeof simQueue = {
  ...simQueue,
  retry: { attemptsMax: 12, delayMsMin: 11_000, delayMsMax: 11_000, timeoutMs: 400, deadlineMs: Infinity },
};

/** List that every opened actor appends itself to. */
export const LIST = "diaries";

/** What a process of the simulation lends its actors. */
export interface DiaryWorld {
  /** While true, scripts that throw or kill do so; later they end well. */
  isBroken(): boolean;
  readonly queue: typeof simQueue;
  /** Ends the process that the handler runs in. */
  kill(): void;
}

/** Rpcs that a build may lack. */
export type Rpc = "Later" | "Touch" | "OnTimer";

/** The same actor in a build that does not know all of it. */
export function without(actor: ActorDefinition, lacks: readonly Rpc[]): ActorDefinition {
  const handlers = [...actor.handlers].filter(([name]) => !(lacks as readonly string[]).includes(name));
  return { ...actor, handlers: new Map(handlers) };
}

/** An actor that writes down all that is applied to it, and checks what only its own memory can tell. */
export function diaryActor(world: DiaryWorld): ActorDefinition {
  const run = (ctx: Context, script: Script) => reply(ctx, play(ctx, script, world));
  const take = (ctx: Context, { amount, script }: Parcel) => {
    ctx.state.balance += amount;
    return script === undefined ? {} : run(ctx, script);
  };
  return defineActor(
    SimActor,
    SimStateSchema,
    {
      open(ctx, script) {
        if (!ctx.isNew) throw DomainError.of("ALREADY_OPEN", `${ctx.key} is open`);
        if (script.list) ctx.list(LIST, { op: script.op });
        return run(ctx, script);
      },
      run,
      later: run,
      await(ctx, script) {
        play(ctx, script, world);
        return ctx.defer(script.op);
      },
      receive: take,
      touch: take,
      onTask(ctx, { op }) {
        settle(ctx, op);
        return {};
      },
      onTimer(ctx, { name, script }) {
        const timer = ctx.state.timers[name];
        if (timer?.op !== script?.op)
          note(ctx.state, `${name} fired for ${script?.op}, armed is ${timer?.op}`);
        else if (BigInt(ctx.nowMs) < (timer?.deadlineMs ?? 0n)) note(ctx.state, `${name} fired too early`);
        delete ctx.state.timers[name];
        return script === undefined ? {} : run(ctx, script);
      },
    },
    { creates: ["open", "receive"] },
  );
}

function note(state: State, anomaly: string): void {
  state.anomalies.push(anomaly);
}

function reply({ state }: Context, op: string) {
  return { op, diary: state.diary.indexOf(op) + 1, balance: state.balance };
}

/** Does what the script says. @returns its name */
function play(ctx: Context, script: Script, world: DiaryWorld): string {
  const { state } = ctx;
  const { op } = script;
  if (script.covered && state.balance + script.amount < 0n)
    throw DomainError.of("SHORT", `${ctx.key} has ${state.balance}`);
  if (state.diary.includes(op)) note(state, `${op} applied again`);
  state.diary.push(op);
  state.balance += script.amount;
  if (script.padding.length > 0) state.padding = script.padding;
  for (const name of script.cancels) {
    delete state.timers[name];
    ctx.cancelTimer(name);
  }
  for (const { name, delayMs, script: then } of script.arms) {
    const deadlineMs = BigInt(Math.ceil(ctx.nowMs + delayMs));
    state.timers[name] = create(SimTimerSchema, { op: then?.op ?? "", deadlineMs });
    ctx.timer(name, delayMs, SimActor.method.onTimer, then === undefined ? { name } : { name, script: then });
  }
  for (const { to, amount, script: then, fresh, touches } of script.sends) {
    state.balance -= amount;
    const parcel = then === undefined ? { amount } : { amount, script: then };
    ctx.send(touches ? SimActor.method.touch : SimActor.method.receive, to, parcel, { fresh });
  }
  if (script.ttlSeconds > 0) ctx.expireAfter(script.ttlSeconds);
  for (let i = 0; i < script.tasks; i++) {
    const id = ctx.task(world.queue, { op }, SimActor.method.onTask);
    state.tasks[id] = create(SimTaskSchema, { op });
  }
  for (let i = 0; i < script.events; i++) ctx.emit(NotedSchema, { op, count: ++state.events });
  end(script, world);
  return op;
}

function end({ op, ending }: Script, world: DiaryWorld): void {
  if (ending === Ending.REFUSE) throw DomainError.of("REFUSED_BY_SCRIPT", `${op} is refused`);
  if (!world.isBroken()) return;
  if (ending === Ending.KILL) world.kill();
  if (ending !== Ending.UNSPECIFIED) throw new Error(`${op} throws`);
}

/** An outcome: known at once, or unknown and perhaps known later; never twice the same. */
function settle(ctx: Context, op: string): void {
  const { state, outcome } = ctx;
  const task = outcome && state.tasks[outcome.taskId];
  if (outcome === undefined || task === undefined)
    return note(state, `an outcome of no task: ${outcome?.taskId}`);
  const { status, late } = outcome;
  const before = task.outcomes.join(",");
  const isKnown = status === "done";
  if (isKnown && op !== task.op) note(state, `task of ${task.op} has the result of ${op}`);
  if (late !== (before !== "") || (!isKnown && before !== "") || before.includes("done"))
    note(state, `task of ${task.op} is ${status}${late ? ", late" : ""} after ${before || "nothing"}`);
  task.outcomes.push(status);
  ctx.resolve(task.op, SimActor.method.await, reply(ctx, task.op));
}

/** All ops of a tenant counted, and those of each actor in order. */
export const simProjection = defineProjection("analytics", SimTotalsSchema, [
  on(
    SimTotalsSchema,
    NotedSchema,
    (_event, { key }) => ["totals", `of-${key}`],
    (ctx, { op, count }, { key }) => {
      ctx.record("totals").count += 1;
      const own = ctx.record(`of-${key}`);
      if (count !== own.count + 1) own.anomalies.push(`event ${count} of ${key} after ${own.count}`);
      own.count = count;
      own.ops.push(op);
    },
  ),
]);
