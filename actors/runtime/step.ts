import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  EntrySchema,
  OutcomeStatus,
  RefusalSchema,
  WaiterSchema,
  type Entry,
  type OpenTask,
  type Outcome,
  type Record as RecordMessage,
  type Reply,
  type Request,
} from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { Deferred, type ActorDefinition, type ActorHandler, type TaskOutcome } from "./actor.ts";
import { DomainError } from "./domain-error.ts";
import { LIMITS } from "./limits.ts";
import type { MemoryRecord, Working } from "./record.ts";
import { StepContext, lostTimerName, noEffects, rememberAnswer, type Effects } from "./step-context.ts";

/** Reasons of dead letters. */
export type DeadReason =
  | "UNDECODABLE"
  | "UNKNOWN_KIND"
  | "UNKNOWN_METHOD"
  | "HANDLER_FAILED"
  | "REFUSED"
  | "NOT_FOUND"
  | "CRASH_LOOP"
  | "TOO_LARGE"
  | "TOO_DEEP";

/**
 * What became of one entry. `applied`: the record changed. `answered`: only replies. `dropped`: nothing to do.
 * `failed`: the handler's changes are undone; `entry` is what the dead letter keeps, `changed` whether the record must be
 * written all the same (a timer or task that is spent).
 */
export type StepResult =
  | { readonly kind: "applied"; readonly effects: Effects }
  | { readonly kind: "answered"; readonly effects: Effects }
  | { readonly kind: "dropped" }
  | {
      readonly kind: "failed";
      readonly reason: DeadReason;
      readonly error: string;
      readonly entry: Entry;
      readonly changed: boolean;
    };

/** Time and identity of the input. */
export interface StepEnv {
  /** Stored time of the input. */
  readonly atMs: number;
  /** Prefix of all ids that derive from it. */
  readonly origin: string;
}

/** A record that was opened only to remember a refusal goes after the life of a key. */
const REFUSED_TTL_SECONDS = 2 * 86_400;

/** Applies one entry to its actor's record: the record changes only if the result says so. */
export function applyEntry(
  definition: ActorDefinition,
  record: MemoryRecord,
  entry: Entry,
  env: StepEnv,
): StepResult {
  const before = record.bytes();
  const working = record.open(definition.state);
  try {
    const result = dispatch(definition, record, working, entry, env);
    if (result.kind === "applied" || (result.kind === "failed" && result.changed)) record.touched();
    else if (result.kind === "failed") record.undo(before);
    return result;
  } catch (error) {
    record.undo(before);
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
  if (timer === undefined && entry.redrive === undefined) return { kind: "dropped" };
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

/** Runs a handler for a message that nobody waits for. `spend` marks what the input used up, where the handler failed. */
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
  const before = spend === undefined ? undefined : record.bytes();
  try {
    const { context } = runHandler(definition, working, handler, entry, env, outcome);
    return { kind: "applied", effects: context.effects };
  } catch (error) {
    const reason =
      error instanceof DomainError
        ? "REFUSED"
        : error instanceof UndecodableError
          ? "UNDECODABLE"
          : "HANDLER_FAILED";
    if (before === undefined || spend === undefined) return failed(reason, error, entry);
    record.undo(before);
    spend();
    return failed(reason, error, entry, true);
  }
}

function applyRequest(
  definition: ActorDefinition,
  record: MemoryRecord,
  working: Working,
  entry: Entry,
  request: Request,
  env: StepEnv,
): StepResult {
  const { meta } = working;
  const known = answerRepeat(meta, request);
  if (known) return known;
  const handler = definition.handlers.get(entry.method);
  if (!handler) return failed("UNKNOWN_METHOD", `${definition.kind} has no rpc ${entry.method}`, entry);
  const creating = meta.revision === 0n;
  if (creating && !definition.creates.has(entry.method)) {
    return refuse(
      request,
      DomainError.of("NOT_FOUND", `there is no ${definition.kind} ${entry.key}`, {
        resource: definition.kind,
        id: entry.key,
      }),
    );
  }
  if (meta.answers.length >= LIMITS.answersMax) {
    return refuse(
      request,
      DomainError.of(
        "QUOTA_EXCEEDED",
        `${definition.kind} ${entry.key} has taken ${LIMITS.answersMax} writes within a day`,
      ),
    );
  }
  const before = record.bytes();
  try {
    const { context, result, nowMs } = runHandler(definition, working, handler, entry, env, undefined);
    const { id: requestId, fingerprint } = request;
    if (result instanceof Deferred) {
      const atMs = BigInt(nowMs);
      if (meta.waiters.length >= LIMITS.waitersMax)
        throw DomainError.of("QUOTA_EXCEEDED", "too many requests wait for this answer");
      meta.waiters.push(
        create(WaiterSchema, {
          tag: result.tag,
          requestId,
          fingerprint,
          requests: [request],
          creating,
          atMs,
        }),
      );
    } else {
      const reply = toBinary(handler.method.output, create(handler.method.output, result));
      const answer = { case: "reply" as const, value: reply };
      rememberAnswer(meta, { requestId, fingerprint, creating, result: answer }, nowMs);
      context.effects.replies.push({ request, result: answer, replayed: false });
    }
    return { kind: "applied", effects: context.effects };
  } catch (error) {
    if (!(error instanceof DomainError)) {
      return failed(error instanceof UndecodableError ? "UNDECODABLE" : "HANDLER_FAILED", error, entry);
    }
    record.undo(before);
    return rememberRefusal(record.open(definition.state).meta, request, error, env);
  }
}

/** J11: a refusal leaves nothing but the remembered reply. */
function rememberRefusal(
  meta: RecordMessage,
  request: Request,
  error: DomainError,
  env: StepEnv,
): StepResult {
  const result = refusal(error);
  const nowMs = Math.max(env.atMs, Number(meta.nowMs));
  if (meta.revision === 0n) meta.ttlSeconds = REFUSED_TTL_SECONDS;
  rememberAnswer(
    meta,
    { requestId: request.id, fingerprint: request.fingerprint, creating: false, result },
    nowMs,
  );
  return { kind: "applied", effects: { ...noEffects(), replies: [{ request, result, replayed: false }] } };
}

/** A request that was seen before: the same answer, or one more that waits for it. */
function answerRepeat(meta: RecordMessage, request: Request): StepResult | undefined {
  const answer = meta.answers.find((known) => known.requestId === request.id);
  const waiter = meta.waiters.find((known) => known.requestId === request.id);
  const known = answer ?? waiter;
  if (known === undefined) return undefined;
  if (Buffer.compare(known.fingerprint, request.fingerprint) !== 0) {
    return refuse(
      request,
      DomainError.of("IDEMPOTENCY_KEY_REUSED", "this idempotency key was used for another request"),
    );
  }
  if (answer !== undefined) {
    const result: Reply["result"] = answer.result;
    return { kind: "answered", effects: { ...noEffects(), replies: [{ request, result, replayed: true }] } };
  }
  const waiting = waiter!.requests;
  const isSame = (r: Request) => r.replyTo === request.replyTo && r.correlation === request.correlation;
  if (request.replyTo === "" || waiting.some(isSame)) return { kind: "dropped" };
  waiting.push(request);
  if (waiting.length > LIMITS.waitersMax) waiting.shift(); // the longest waiting asks again
  return { kind: "applied", effects: noEffects() };
}

/** A refusal that is not remembered: nothing was accepted. */
function refuse(request: Request, error: DomainError): StepResult {
  return {
    kind: "answered",
    effects: { ...noEffects(), replies: [{ request, result: refusal(error), replayed: false }] },
  };
}

function refusal(error: DomainError): {
  case: "refusal";
  value: ReturnType<typeof create<typeof RefusalSchema>>;
} {
  const { reason, message, metadata } = error;
  return { case: "refusal", value: create(RefusalSchema, { reason, message, metadata: { ...metadata } }) };
}

class UndecodableError extends Error {
  override readonly name = "UndecodableError";
}

function runHandler(
  definition: ActorDefinition,
  { meta, state }: Working,
  handler: ActorHandler,
  entry: Entry,
  env: StepEnv,
  outcome: TaskOutcome | undefined,
) {
  let message;
  try {
    message = fromBinary(handler.method.input, entry.body);
  } catch (error) {
    throw new UndecodableError(`the body is no ${handler.method.input.typeName}: ${text(error)}`);
  }
  const nowMs = Math.max(env.atMs, Number(meta.nowMs));
  const context = new StepContext(
    { kind: definition.kind, entry, nowMs, origin: env.origin, outcome },
    meta,
    state,
  );
  if (meta.revision === 0n) {
    meta.createdMs = BigInt(nowMs);
    meta.ttlSeconds = 0;
  }
  const result = handler.run(context, message);
  meta.revision += 1n;
  meta.nowMs = BigInt(nowMs);
  return { context, result, nowMs };
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function failed(reason: DeadReason, error: unknown, entry: Entry, changed = false): StepResult {
  return { kind: "failed", reason, error: text(error), entry, changed };
}
