import type { Entry } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { ActorDefinition, ActorHandler, TaskOutcome } from "../actor.ts";
import type { MemoryRecord, Working } from "./record.ts";
import { StepContext, type Effects } from "./step-context.ts";
import { decode } from "../codec/decode.ts";

/** Reasons of dead letters. */
export type DeadReason =
  | "UNDECODABLE"
  | "UNKNOWN_KIND"
  | "UNKNOWN_METHOD"
  | "WRONG_LOG"
  | "HANDLER_FAILED"
  | "REFUSED"
  | "NOT_FOUND"
  | "CRASH_LOOP"
  | "TOO_LARGE"
  | "TOO_DEEP";

/**
 * What became of one entry. `applied`: the record changed. `answered`: only replies. `dropped`: nothing to do.
 * `failed`: the handler's changes are undone; `entry` is what the dead letter keeps, `changed` whether the record
 * must be written all the same (a timer or task that is spent).
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

/**
 * A step failed whose record an earlier step of the same commit had changed. Steps fail rarely and encoding a
 * record before each is dear, so the commit is begun again carefully.
 */
export class NotUndoableError extends Error {
  override readonly name = "NotUndoableError";
}

/**
 * Brings the record of a step that runs back to what it was before: until the step is over, its encoding is the one
 * from before it.
 * @throws NotUndoableError in a hopeful run, where the record was not encoded before the step
 */
export function undo(record: MemoryRecord): void {
  undoTo(record, record.freshBytes());
}

/** Brings a record back to the encoding that it had before a step. */
export function undoTo(record: MemoryRecord, before: Uint8Array | undefined): void {
  if (before === undefined) throw new NotUndoableError(`${record.name} was changed in the same commit`);
  record.undo(before);
}

/** The body is not the message that the rpc takes. */
export class UndecodableError extends Error {
  override readonly name = "UndecodableError";
}

/**
 * Calls the handler on the working version. Whatever it throws, the caller brings the record back.
 * @returns the context with what the handler has caused and returned
 */
export function runHandler(
  definition: ActorDefinition,
  { meta, state }: Working,
  handler: ActorHandler,
  entry: Entry,
  env: StepEnv,
  outcome: TaskOutcome | undefined,
): StepContext {
  let message;
  try {
    message = decode(handler.method.input, entry.body);
  } catch (error) {
    throw new UndecodableError(`the body is no ${handler.method.input.typeName}: ${text(error)}`);
  }
  const nowMs = Math.max(env.atMs, Number(meta.nowMs));
  const context = new StepContext(definition.kind, entry, nowMs, env.origin, outcome, meta, state);
  if (meta.revision === 0n) {
    meta.createdMs = BigInt(nowMs);
    meta.ttlSeconds = 0;
  }
  context.result = handler.run(context, message);
  meta.revision += 1n;
  meta.nowMs = BigInt(nowMs);
  return context;
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A result for the dead letters. */
export function failed(reason: DeadReason, error: unknown, entry: Entry, changed = false): StepResult {
  return { kind: "failed", reason, error: text(error), entry, changed };
}
