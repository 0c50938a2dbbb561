import type {
  DescMessage,
  DescMethodUnary,
  Message,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import {
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
import { Deferred, kindOf, type ActorContext, type ActorHandler, type TaskOutcome } from "../actor.ts";
import { assert, DefectError } from "../assert.ts";
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
  readonly messages: readonly Entry[];
  readonly tasks: readonly Task[];
  readonly schedules: readonly Schedule[];
  readonly events: readonly Event[];
  readonly replies: readonly PendingReply[];
}

type Collected = { -readonly [K in keyof Effects]: Effects[K] };

/** Stands for every list without an item: most steps cause one or two sorts of effects. */
const NOTHING: readonly never[] = [];

export function noEffects(): Effects {
  return { messages: NOTHING, tasks: NOTHING, schedules: NOTHING, events: NOTHING, replies: NOTHING };
}

/** The list with one more item, in place unless it was empty: `push` makes room for 17 where most hold one. */
export function more<T>(list: readonly T[], item: T): T[] {
  if (list.length === 0) return [item];
  (list as T[]).push(item);
  return list as T[];
}

const ID_LENGTH_MAX = 60;
/** Of messages between actors. Nobody changes it. */
const NO_SOURCE: Entry["source"] = { case: undefined };

/** The context of one handler call: collects effects and changes the working record (J6: ids derive from the input). */
export class StepContext implements ActorContext<DescMessage> {
  readonly tenant: string;
  readonly key: string;
  readonly isNew: boolean;
  readonly revision: bigint;
  readonly nowMs: number;
  readonly outcome: TaskOutcome | undefined;
  readonly state: MessageShape<DescMessage>;
  readonly effects: Collected = noEffects();
  /** What the handler returned. */
  result: ReturnType<ActorHandler["run"]> = {};
  readonly #kind: string;
  readonly #entry: Entry;
  readonly #origin: string;
  readonly #meta: RecordMessage;
  #count = 0;

  constructor(
    kind: string,
    entry: Entry,
    nowMs: number,
    origin: string,
    outcome: TaskOutcome | undefined,
    meta: RecordMessage,
    state: Message,
  ) {
    this.#kind = kind;
    this.#entry = entry;
    this.#origin = origin;
    this.#meta = meta;
    this.state = state;
    this.tenant = entry.tenant;
    this.key = entry.key;
    this.isNew = meta.revision === 0n;
    this.revision = meta.revision;
    this.nowMs = nowMs;
    this.outcome = outcome;
  }

  id(prefix?: string): string {
    const id = `${this.#origin}-${this.#count++}`;
    if (this.#count > LIMITS.effectsPerStepMax)
      throw new DefectError(`a handler may cause at most ${LIMITS.effectsPerStepMax} effects`);
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
    if (!(delayMs >= 0 && Number.isFinite(delayMs)))
      throw new DefectError(`timer ${name}: the delay is a number of milliseconds >= 0`);
    assert(!name.startsWith("~"), "names with ~ are the runtime's");
    if (kindOf(method.parent) !== this.#kind)
      throw new DefectError(`timer ${name} calls a method of its own actor`);
    this.#arm(name, this.nowMs + delayMs, method.name, this.#encode(method.input, message));
  }

  cancelTimer(name: string): void {
    const { timers } = this.#meta;
    for (let at = 0; at < timers.length; at++)
      if (timers[at]?.name === name) return void timers.splice(at, 1);
  }

  task<I extends DescMessage, O extends DescMessage>(
    queue: TaskQueue<I, O>,
    message: MessageInitShape<I>,
    method: DescMethodUnary<O>,
  ): string {
    if (method.input.typeName !== queue.output.typeName)
      throw new DefectError(`${method.name} takes what queue ${queue.name} returns`);
    if (this.#meta.tasks.length >= LIMITS.tasksPerRecordMax)
      throw new DefectError(`an actor has at most ${LIMITS.tasksPerRecordMax} tasks`);
    const id = this.id();
    const kind = this.#kind;
    const body = this.#encode(queue.input, message);
    const { tenant, key, effects } = this;
    const { trace } = this.#entry;
    const { name } = queue;
    const armedMs = BigInt(this.nowMs);
    const open = create(OpenTaskSchema, { id, queue: name, method: method.name, trace, armedMs });
    this.#meta.tasks = more(this.#meta.tasks, open);
    effects.tasks = more(
      effects.tasks,
      create(TaskSchema, { id, queue: name, kind, tenant, key, body, trace }),
    );
    if (Number.isFinite(queue.retry.deadlineMs)) {
      this.#arm(lostTimerName(id), this.nowMs + queue.retry.deadlineMs, method.name, new Uint8Array(0));
    }
    return id;
  }

  emit<E extends DescMessage>(schema: E, message: MessageInitShape<E>): void {
    this.id();
    const kind = this.#kind;
    const json = Buffer.from(encodeJson(schema, create(schema, message)));
    if (json.length > LIMITS.bodyBytesMax)
      throw new DefectError(`an event has at most ${LIMITS.bodyBytesMax} bytes`);
    const { tenant, key, effects } = this;
    const { trace } = this.#entry;
    const atMs = BigInt(this.nowMs);
    effects.events = more(
      effects.events,
      create(EventSchema, { kind, tenant, key, type: schema.typeName, json, trace, atMs }),
    );
  }

  defer(tag: string): Deferred {
    return new Deferred(tag);
  }

  resolve<M extends DescMethodUnary>(tag: string, method: M, message: MessageInitShape<M["output"]>): void {
    const { waiters } = this.#meta;
    let reply: Uint8Array | undefined;
    const kept: RecordMessage["waiters"] = [];
    for (const waiter of waiters) {
      if (waiter.tag !== tag) {
        kept.push(waiter);
        continue;
      }
      reply ??= this.#encode(method.output, message);
      const result = { case: "reply" as const, value: reply };
      const { requestId, fingerprint, creating, requests } = waiter;
      rememberAnswer(this.#meta, { requestId, fingerprint, creating, result }, this.nowMs);
      let replayed = false;
      for (const request of requests) {
        this.effects.replies = more(this.effects.replies, { request, result, replayed });
        replayed = true;
      }
    }
    if (kept.length < waiters.length) this.#meta.waiters = kept;
  }

  expireAfter(ttlSeconds: number): void {
    this.#meta.ttlSeconds = ttlSeconds;
  }

  #encode<D extends DescMessage>(schema: D, message: MessageInitShape<D>): Uint8Array {
    const bytes = encode(schema, create(schema, message));
    if (bytes.length > LIMITS.bodyBytesMax)
      throw new DefectError(`a ${schema.typeName} has at most ${LIMITS.bodyBytesMax} bytes`);
    return bytes;
  }

  #message(kind: string, key: string, method: string, body: Uint8Array, fresh: boolean): void {
    const entry = this.#entry;
    const message: Entry = {
      $typeName: "tradewind.actors.runtime.v1.Entry",
      kind,
      tenant: this.tenant,
      key,
      method,
      body,
      source: NO_SOURCE,
      trace: entry.trace,
      depth: entry.depth + 1,
      fresh,
      origin: this.id(),
      atMs: BigInt(this.nowMs),
    };
    this.effects.messages = more(this.effects.messages, message);
  }

  #arm(name: string, deadlineMs: number, method: string, body: Uint8Array): void {
    this.cancelTimer(name);
    if (this.#meta.timers.length >= LIMITS.timersPerRecordMax)
      throw new DefectError(`an actor has at most ${LIMITS.timersPerRecordMax} timers`);
    const arm = this.id();
    const deadline = BigInt(Math.ceil(deadlineMs));
    const timer = create(TimerSchema, { name, arm, deadlineMs: deadline, method, body });
    this.#meta.timers = more(this.#meta.timers, timer);
    const kind = this.#kind;
    const { tenant, key, effects } = this;
    effects.schedules = more(
      effects.schedules,
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
  meta.answers = more(meta.answers, {
    $typeName: "tradewind.actors.runtime.v1.Answer",
    atMs: BigInt(nowMs),
    ...answer,
  });
  const oldestMs = BigInt(nowMs - LIMITS.answerAgeMsMin);
  if (meta.answers.length > LIMITS.answersMax / 2) {
    meta.answers = meta.answers.filter((kept) => kept.creating || kept.atMs > oldestMs);
  }
}
