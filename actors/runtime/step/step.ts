import {
  EntrySchema,
  OutcomeStatus,
  type Entry,
  type OpenTask,
  type Outcome,
  type Record as RecordMessage,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { ActorDefinition, ActorHandler, TaskOutcome } from "../actor.ts";
import { DomainError } from "../domain-error.ts";
import { LIMITS } from "../limits.ts";
import type { MemoryRecord, Working } from "./record.ts";
import { lostTimerName, noEffects } from "./step-context.ts";
import { applyRequest } from "./step-request.ts";
import {
  failed,
  NotUndoableError,
  runHandler,
  UndecodableError,
  undo,
  type StepEnv,
  type StepResult,
} from "./step-run.ts";
import { create } from "../codec/create.ts";

/**
 * Applies one entry to its actor's record: the record changes only if the result says so.
 * @param isCareful encodes a record that is changed already, so that this step alone can be undone
 * @throws NotUndoableError in a run that is not careful
 */
export function applyEntry(
  definition: ActorDefinition,
  record: MemoryRecord,
  entry: Entry,
  env: StepEnv,
  isCareful: boolean,
): StepResult {
  if (isCareful) record.bytes();
  const working = record.open(definition.state);
  try {
    const result = dispatch(definition, record, working, entry, env);
    if (result.kind === "applied" || (result.kind === "failed" && result.changed)) record.touched();
    else if (result.kind === "failed") undo(record);
    return result;
  } catch (error) {
    if (error instanceof NotUndoableError) throw error;
    undo(record);
    return failed("HANDLER_FAILED", error, entry);
  }
}

function dispatch(
  definition: ActorDefinition,
  record: MemoryRecord,
  working: Working,
  entry: Entry,
  env: StepEnv,
): StepResult {
  const { meta } = working;
  if (entry.redrive !== undefined) {
    if (meta.redriven.includes(entry.redrive.deadLetter)) return { kind: "dropped" };
    meta.redriven = [...meta.redriven.slice(-LIMITS.answersMax), entry.redrive.deadLetter];
  }
  switch (entry.source.case) {
    case "request":
      return applyRequest(definition, record, working, entry, entry.source.value, env);
    case "firing":
      return applyFiring(definition, record, working, entry, env);
    case "outcome":
      return applyOutcome(definition, record, working, entry, entry.source.value, env);
    default:
      return applyMessage(definition, record, working, entry, env);
  }
}

function applyMessage(
  definition: ActorDefinition,
  record: MemoryRecord,
  working: Working,
  entry: Entry,
  env: StepEnv,
): StepResult {
  const handler = definition.handlers.get(entry.method);
  if (!handler) return failed("UNKNOWN_METHOD", `${definition.kind} has no rpc ${entry.method}`, entry);
  if (working.meta.revision === 0n && !definition.creates.has(entry.method)) {
    return failed(
      "NOT_FOUND",
      `there is no ${definition.kind} ${entry.key}, and ${entry.method} does not open one`,
      entry,
    );
  }
  return runInternal(definition, record, working, handler, entry, env, undefined);
}

function applyFiring(
  definition: ActorDefinition,
  record: MemoryRecord,
  working: Working,
  entry: Entry,
  env: StepEnv,
): StepResult {
  if (entry.source.case !== "firing") return { kind: "dropped" };
  const { timer: name, arm, deadlineMs } = entry.source.value;
  const { meta } = working;
  const index = meta.timers.findIndex((timer) => timer.name === name && timer.arm === arm);
  const timer = meta.timers[index];
  // A letter of a timer that never ran does not know its rpc: without its timer there is nothing to do.
  const isOver = entry.redrive === undefined || entry.method === "";
  if (timer === undefined && isOver) return { kind: "dropped" };
  if (timer !== undefined) meta.timers.splice(index, 1);
  const atMs = Math.max(env.atMs, Number(deadlineMs));
  const task = meta.tasks.find((open) => lostTimerName(open.id) === name);
  if (name.startsWith("~")) {
    if (task === undefined || task.givenUp) return { kind: "applied", effects: noEffects() };
    const outcome: TaskOutcome = {
      taskId: task.id,
      status: "lost",
      late: false,
      attempts: 0,
      error: "no outcome in time",
    };
    task.givenUp = true;
    return runOutcome(definition, record, working, task, entry, { ...env, atMs }, outcome);
  }
  const method = timer?.method ?? entry.method;
  const plain = create(EntrySchema, { ...entry, method, body: timer?.body ?? entry.body });
  const handler = definition.handlers.get(method);
  if (!handler) return failed("UNKNOWN_METHOD", `${definition.kind} has no rpc ${method}`, plain, true);
  return runInternal(definition, record, working, handler, plain, { ...env, atMs }, undefined, () => {
    const again = record.open(definition.state).meta;
    again.timers = again.timers.filter((kept) => kept.arm !== arm);
  });
}

function applyOutcome(
  definition: ActorDefinition,
  record: MemoryRecord,
  working: Working,
  entry: Entry,
  outcome: Outcome,
  env: StepEnv,
): StepResult {
  const { meta } = working;
  const task = meta.tasks.find((open) => open.id === outcome.task);
  const isDone = outcome.status === OutcomeStatus.DONE;
  if (task === undefined) {
    const handler = entry.redrive === undefined ? undefined : definition.handlers.get(entry.method);
    if (!handler) return { kind: "dropped" };
    return runInternal(definition, record, working, handler, entry, env, outcomeInfo(outcome, true));
  }
  if (!isDone && task.givenUp) return { kind: "dropped" };
  const info = outcomeInfo(outcome, task.givenUp);
  if (isDone) closeTask(meta, task);
  else task.givenUp = true;
  return runOutcome(definition, record, working, task, entry, env, info);
}

function outcomeInfo(outcome: Outcome, late: boolean): TaskOutcome {
  const { task: taskId, attempts, error } = outcome;
  const status =
    outcome.status === OutcomeStatus.DONE
      ? "done"
      : outcome.status === OutcomeStatus.LOST
        ? "lost"
        : "gave_up";
  return { taskId, status, late, attempts, error };
}

function closeTask(meta: RecordMessage, task: OpenTask): void {
  const lost = lostTimerName(task.id);
  meta.tasks = meta.tasks.filter((open) => open !== task);
  meta.timers = meta.timers.filter((timer) => timer.name !== lost);
}

function runOutcome(
  definition: ActorDefinition,
  record: MemoryRecord,
  working: Working,
  task: OpenTask,
  entry: Entry,
  env: StepEnv,
  outcome: TaskOutcome,
): StepResult {
  const handler = definition.handlers.get(task.method);
  const body = outcome.status === "done" ? entry.body : new Uint8Array(0);
  const plain = create(EntrySchema, { ...entry, method: task.method, body });
  if (!handler) return failed("UNKNOWN_METHOD", `${definition.kind} has no rpc ${task.method}`, plain, true);
  const spend = () => {
    const { meta } = record.open(definition.state);
    const open = meta.tasks.find((t) => t.id === task.id);
    if (open === undefined) return;
    if (outcome.status === "done") closeTask(meta, open);
    else open.givenUp = true;
  };
  return runInternal(definition, record, working, handler, plain, env, outcome, spend);
}

/**
 * Runs a handler for a message that nobody waits for. `spend` marks what the input used up, where the handler
 * failed.
 */
function runInternal(
  definition: ActorDefinition,
  record: MemoryRecord,
  working: Working,
  handler: ActorHandler,
  entry: Entry,
  env: StepEnv,
  outcome: TaskOutcome | undefined,
  spend?: () => void,
): StepResult {
  try {
    const { effects } = runHandler(definition, working, handler, entry, env, outcome);
    return { kind: "applied", effects };
  } catch (error) {
    const reason =
      error instanceof DomainError
        ? "REFUSED"
        : error instanceof UndecodableError
          ? "UNDECODABLE"
          : "HANDLER_FAILED";
    if (spend === undefined) return failed(reason, error, entry);
    undo(record);
    spend();
    return failed(reason, error, entry, true);
  }
}
