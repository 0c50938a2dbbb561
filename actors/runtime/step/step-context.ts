import type {
  DescMessage,
  DescMethodUnary,
  Message,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import {
  EntrySchema,
  EventSchema,
  ListEntrySchema,
  OpenTaskSchema,
  ScheduleSchema,
  TaskSchema,
  TimerSchema,
  type Entry,
  type Event,
  type Record as RecordMessage,
  type Reply,
  type Request,
  type Schedule,
  type Task,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { Deferred, kindOf, type ActorContext, type TaskOutcome } from "../actor.ts";
import { assert } from "../assert.ts";
import { LIMITS } from "../limits.ts";
import type { TaskQueue } from "../task-queue.ts";
import { encode } from "../codec/encode.ts";
import { encodeJson } from "../codec/json.ts";
import { create } from "../codec/create.ts";

/** Kind of the records that hold list pages; the runtime's own. */
export const LIST_KIND = "list";
/** Kind of the messages that take entries from a list; older builds do not know it and leave the log to a newer one. */
export const TRIM_KIND = "trim";
export const TRIM_METHOD = "Trim";

/** Name of the runtime's timer that delivers TASK_LOST. */
export function lostTimerName(taskId: string): string {
  return `~lost:${taskId}`;
}

/** A reply that is sent once the commit is acked. */
export interface PendingReply {
  readonly request: Request;
  readonly result: Reply["result"];
  readonly replayed: boolean;
}

/** What one handler call caused, in order. */
export interface Effects {
  /** Messages to actors of the same tenant, appends to lists included. */
  readonly messages: Entry[];
  readonly tasks: Task[];
  readonly schedules: Schedule[];
  readonly events: Event[];
  readonly replies: PendingReply[];
}

export function noEffects(): Effects {
  return { messages: [], tasks: [], schedules: [], events: [], replies: [] };
}

/** What a step knows of its input. */
export interface StepInput {
  readonly kind: string;
  readonly entry: Entry;
  readonly nowMs: number;
  readonly origin: string;
  readonly outcome: TaskOutcome | undefined;
}

const ID_LENGTH_MAX = 60;

/** The context of one handler call: collects effects and changes the working record (J6: ids derive from the input). */
export class StepContext implements ActorContext<DescMessage> {
  readonly tenant: string;
  readonly key: string;
  readonly isNew: boolean;
  readonly revision: bigint;
  readonly nowMs: number;
  readonly outcome: TaskOutcome | undefined;
  readonly state: MessageShape<DescMessage>;
  readonly effects: Effects = noEffects();
  readonly #input: StepInput;
  readonly #meta: RecordMessage;
  #count = 0;

  constructor(input: StepInput, meta: RecordMessage, state: Message) {
    this.#input = input;
    this.#meta = meta;
    this.state = state;
    this.tenant = input.entry.tenant;
    this.key = input.entry.key;
    this.isNew = meta.revision === 0n;
    this.revision = meta.revision;
    this.nowMs = input.nowMs;
    this.outcome = input.outcome;
  }

  id(prefix?: string): string {
    const id = `${this.#input.origin}-${this.#count++}`;
    assert(
      this.#count <= LIMITS.effectsPerStepMax,
      `a handler may cause at most ${LIMITS.effectsPerStepMax} effects`,
    );
    assert(id.length <= ID_LENGTH_MAX * 2, "ids stay short");
    return prefix === undefined ? id : `${prefix}_${id}`;
  }

  send<M extends DescMethodUnary>(
    method: M,
    key: string,
    message: MessageInitShape<M["input"]>,
    options?: { readonly fresh?: boolean },
  ): void {
    const body = this.#encode(method.input, message);
    this.#message(kindOf(method.parent), key, method.name, body, options?.fresh ?? false);
  }

  list(name: string, fields: Readonly<Record<string, string>>): void {
    const entry = create(ListEntrySchema, { id: this.key, createdMs: BigInt(this.nowMs), fields });
    this.#message(LIST_KIND, name, "Append", encode(ListEntrySchema, entry), false);
  }

  timer<M extends DescMethodUnary>(
    name: string,
    delayMs: number,
    method: M,
    message: MessageInitShape<M["input"]>,
  ): void {
    assert(
      delayMs >= 0 && Number.isFinite(delayMs),
      `timer ${name}: the delay is a number of milliseconds >= 0`,
    );
    assert(!name.startsWith("~"), "names with ~ are the runtime's");
    assert(kindOf(method.parent) === this.#input.kind, `timer ${name} calls a method of its own actor`);
    this.#arm(name, this.nowMs + delayMs, method.name, this.#encode(method.input, message));
  }

  cancelTimer(name: string): void {
    const index = this.#meta.timers.findIndex((timer) => timer.name === name);
    if (index >= 0) this.#meta.timers.splice(index, 1);
  }

  task<I extends DescMessage, O extends DescMessage>(
    queue: TaskQueue<I, O>,
    message: MessageInitShape<I>,
    method: DescMethodUnary<O>,
  ): string {
    assert(
      method.input.typeName === queue.output.typeName,
      `${method.name} takes what queue ${queue.name} returns`,
    );
    assert(
      this.#meta.tasks.length < LIMITS.tasksPerRecordMax,
      `an actor has at most ${LIMITS.tasksPerRecordMax} tasks`,
    );
    const id = this.id();
    const { kind, entry } = this.#input;
    const body = this.#encode(queue.input, message);
    const open = create(OpenTaskSchema, {
      id,
      queue: queue.name,
      method: method.name,
      trace: entry.trace,
      armedMs: BigInt(this.nowMs),
    });
    this.#meta.tasks.push(open);
    const { tenant, key } = this;
    this.effects.tasks.push(
      create(TaskSchema, { id, queue: queue.name, kind, tenant, key, body, trace: entry.trace }),
    );
    if (Number.isFinite(queue.retry.deadlineMs)) {
      this.#arm(lostTimerName(id), this.nowMs + queue.retry.deadlineMs, method.name, new Uint8Array(0));
    }
    return id;
  }

  emit<E extends DescMessage>(schema: E, message: MessageInitShape<E>): void {
    this.id();
    const { kind, entry } = this.#input;
    const json = Buffer.from(encodeJson(schema, create(schema, message)));
    assert(json.length <= LIMITS.bodyBytesMax, `an event has at most ${LIMITS.bodyBytesMax} bytes`);
    this.effects.events.push(
      create(EventSchema, {
        kind,
        tenant: this.tenant,
        key: this.key,
        type: schema.typeName,
        json,
        trace: entry.trace,
        atMs: BigInt(this.nowMs),
      }),
    );
  }

  defer(tag: string): Deferred {
    return new Deferred(tag);
  }

  resolve<M extends DescMethodUnary>(tag: string, method: M, message: MessageInitShape<M["output"]>): void {
    const { waiters } = this.#meta;
    if (!waiters.some((waiter) => waiter.tag === tag)) return;
    const reply = this.#encode(method.output, message);
    for (const waiter of waiters.filter((w) => w.tag === tag)) {
      const { requestId, fingerprint, creating } = waiter;
      rememberAnswer(
        this.#meta,
        { requestId, fingerprint, creating, result: { case: "reply", value: reply } },
        this.nowMs,
      );
      for (const [index, request] of waiter.requests.entries()) {
        this.effects.replies.push({ request, result: { case: "reply", value: reply }, replayed: index > 0 });
      }
    }
    this.#meta.waiters = waiters.filter((waiter) => waiter.tag !== tag);
  }

  expireAfter(ttlSeconds: number): void {
    this.#meta.ttlSeconds = ttlSeconds;
  }

  #encode<D extends DescMessage>(schema: D, message: MessageInitShape<D>): Uint8Array {
    const bytes = encode(schema, create(schema, message));
    assert(
      bytes.length <= LIMITS.bodyBytesMax,
      `a ${schema.typeName} has at most ${LIMITS.bodyBytesMax} bytes`,
    );
    return bytes;
  }

  #message(kind: string, key: string, method: string, body: Uint8Array, fresh: boolean): void {
    const { entry } = this.#input;
    this.effects.messages.push(
      create(EntrySchema, {
        kind,
        tenant: this.tenant,
        key,
        method,
        body,
        trace: entry.trace,
        depth: entry.depth + 1,
        fresh,
        origin: this.id(),
        atMs: BigInt(this.nowMs),
      }),
    );
  }

  #arm(name: string, deadlineMs: number, method: string, body: Uint8Array): void {
    this.cancelTimer(name);
    assert(
      this.#meta.timers.length < LIMITS.timersPerRecordMax,
      `an actor has at most ${LIMITS.timersPerRecordMax} timers`,
    );
    const arm = this.id();
    const deadline = BigInt(Math.ceil(deadlineMs));
    this.#meta.timers.push(create(TimerSchema, { name, arm, deadlineMs: deadline, method, body }));
    const { kind } = this.#input;
    const { tenant, key } = this;
    this.effects.schedules.push(
      create(ScheduleSchema, { kind, tenant, key, timer: name, arm, deadlineMs: deadline }),
    );
  }
}

/** What a record keeps of a request that was answered. */
export interface AnswerInit {
  readonly requestId: string;
  readonly fingerprint: Uint8Array;
  readonly creating: boolean;
  readonly result: RecordMessage["answers"][number]["result"];
}

/** Adds an answer and lets old ones go: the oldest that did not create the record, none younger than a day (J22). */
export function rememberAnswer(meta: RecordMessage, answer: AnswerInit, nowMs: number): void {
  meta.answers.push({ $typeName: "tradewind.actors.runtime.v1.Answer", atMs: BigInt(nowMs), ...answer });
  const oldestMs = BigInt(nowMs - LIMITS.answerAgeMsMin);
  if (meta.answers.length > LIMITS.answersMax / 2) {
    meta.answers = meta.answers.filter((kept) => kept.creating || kept.atMs > oldestMs);
  }
}
