import {
  RefusalSchema,
  RequestSchema,
  WaiterSchema,
  type Entry,
  type Record as RecordMessage,
  type Reply,
  type Request,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { Deferred, type ActorDefinition } from "../actor.ts";
import { DomainError } from "../domain-error.ts";
import { LIMITS } from "../limits.ts";
import type { MemoryRecord, Working } from "./record.ts";
import { more, noEffects, rememberAnswer } from "./step-context.ts";
import { failed, runHandler, UndecodableError, undo, type StepEnv, type StepResult } from "./step-run.ts";
import { encode } from "../codec/encode.ts";
import { create } from "../codec/create.ts";

/** A record that was opened only to remember a refusal goes after the life of a key. */
const REFUSED_TTL_SECONDS = 2 * 86_400;

/** A command from outside: answered once, remembered, and answered alike when it is repeated. */
export function applyRequest(
  definition: ActorDefinition,
  record: MemoryRecord,
  working: Working,
  entry: Entry,
  request: Request,
  env: StepEnv,
): StepResult {
  const { meta } = working;
  if (entry.redrive !== undefined) meta.answers = meta.answers.filter((answer) => !isCrash(answer));
  const known = answerRepeat(meta, request);
  if (known) return known;
  const handler = definition.handlers.get(entry.method);
  if (!handler) return failed("UNKNOWN_METHOD", `${definition.kind} has no rpc ${entry.method}`, entry);
  const creating = meta.revision === 0n;
  if (creating && !definition.creates.has(entry.method)) {
    const { kind } = definition;
    const details = { resource: kind, id: entry.key };
    const error = DomainError.of("NOT_FOUND", `there is no ${kind} ${entry.key}`, details);
    return rememberRefusal(meta, request, error, env); // a copy of it may come when there is one
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
  try {
    const context = runHandler(definition, working, handler, entry, env, undefined);
    const { result, nowMs, effects } = context;
    const { id: requestId, fingerprint } = request;
    if (result instanceof Deferred) {
      const atMs = BigInt(nowMs);
      if (meta.waiters.length >= LIMITS.waitersMax)
        throw DomainError.of("QUOTA_EXCEEDED", "too many requests wait for this answer");
      const { tag } = result;
      const waiter = { tag, requestId, fingerprint, requests: [askerOf(request)], creating, atMs };
      meta.waiters = more(meta.waiters, create(WaiterSchema, waiter));
    } else {
      const reply = encode(handler.method.output, create(handler.method.output, result));
      const answer = { case: "reply" as const, value: reply };
      rememberAnswer(meta, { requestId, fingerprint, creating, result: answer }, nowMs);
      effects.replies = more(effects.replies, { request, result: answer, replayed: false });
    }
    return { kind: "applied", effects };
  } catch (error) {
    if (!(error instanceof DomainError)) {
      return failed(error instanceof UndecodableError ? "UNDECODABLE" : "HANDLER_FAILED", error, entry);
    }
    undo(record);
    return rememberRefusal(record.open(definition.state).meta, request, error, env);
  }
}

/**
 * Remembers that a request killed its owners, so that its repeats do not; only a redrive tries it again.
 */
export function rememberCrash(
  record: MemoryRecord,
  definition: ActorDefinition,
  request: Request,
  env: StepEnv,
): void {
  const { meta } = record.open(definition.state);
  rememberRefusal(
    meta,
    request,
    DomainError.of(CRASH_REASON, "the request killed the workers that applied it"),
    env,
  );
  record.touched();
}

const CRASH_REASON = "CRASH_LOOP";

function isCrash({ result }: RecordMessage["answers"][number]): boolean {
  return result.case === "refusal" && result.value.reason === CRASH_REASON;
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
  const waiting = waiter?.requests ?? [];
  const isSame = (r: Request) => r.replyTo === request.replyTo && r.correlation === request.correlation;
  if (request.replyTo === "" || waiting.some(isSame)) return { kind: "dropped" };
  waiting.push(askerOf(request));
  if (waiting.length > LIMITS.waitersMax) waiting.shift(); // the longest waiting asks again
  return { kind: "applied", effects: noEffects() };
}

/** Where to answer: the waiter, which is written with every change of the record, says once what all of them ask. */
function askerOf({ replyTo, correlation }: Request): Request {
  return create(RequestSchema, { replyTo, correlation });
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
