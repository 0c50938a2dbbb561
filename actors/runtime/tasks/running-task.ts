import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { type Clock, sleep, type TimerHandle } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import type { Random } from "../../../platform/random.ts";
import {
  type Entry,
  EntrySchema,
  OutcomeSchema,
  OutcomeStatus,
  type Task,
  TaskSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Bus, Delivery } from "../bus/bus.ts";
import { HEADER } from "../headers.ts";
import { LIMITS } from "../limits.ts";
import type { FailureLog } from "./failure-log.ts";
import { laterTask } from "./task-message.ts";
import { retryDelayMs } from "./retry-delay.ts";
import type { TaskService } from "../task-queue.ts";
import type { Topology } from "../topology.ts";
import { encode } from "../codec/encode.ts";
import { decode } from "../codec/decode.ts";
import { create } from "../codec/create.ts";

/** What a task needs while it runs. */
export interface RunningTaskOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly failures: FailureLog;
  readonly topology: Topology;
}

/** Makes an outcome durable, as {@link InboxWriter.append} does. */
export type AppendOutcomeEntry = (group: string, log: number, entry: Entry) => Promise<void>;

/** A longer rest is a schedule: a delivery that waits counts against the consumer's limit. */
const NAK_DELAY_MS_MAX = 5_000;
/** Why a task was given up, as the actor is told. */
const ERROR_LENGTH_MAX = 500;

type Status = typeof OutcomeStatus.DONE | typeof OutcomeStatus.GAVE_UP;
/** Why an attempt had no result; after a hopeless one there is no other. */
interface Failure {
  readonly kind: "failed" | "hopeless";
  readonly error: string;
}

/** What a task works with. */
export interface RunningTaskParts {
  readonly service: TaskService;
  readonly delivery: Delivery;
  readonly append: AppendOutcomeEntry;
  /** What the delivery holds, if it has been read. */
  readonly task?: Task;
}

/**
 * One delivery of a task: calls the handler once and ends the delivery by an outcome that is durable, or by a rest.
 * Acks are not fenced and do no harm: only an outcome that is stored is acked, and actors take each outcome once.
 * Written with callbacks where nothing fails: a handful of async functions cost as much as what a step does.
 */
export class RunningTask {
  readonly #options: RunningTaskOptions;
  readonly #parts: RunningTaskParts;
  /** Of the attempt: its timeout, or the end of the process. */
  readonly #abort = new AbortController();
  /** Ends the attempt under way. Not a listener of the signal: those cost more than the rest of an attempt. */
  #endAttempt: ((reason: Error) => void) | undefined;
  #timer: TimerHandle | undefined;
  #isStopping = false;
  /** Attempts used, this one included. */
  readonly #attempts: number;
  #onEnd: () => void = () => undefined;

  constructor(options: RunningTaskOptions, parts: RunningTaskParts) {
    this.#options = options;
    this.#parts = parts;
    const { message, attempt } = parts.delivery;
    const before = Number(message.headers[HEADER.attempt] ?? 0);
    this.#attempts = (Number.isFinite(before) ? before : 0) + attempt;
  }

  /** Never throws. @param onEnd called when nothing of it runs any more */
  run(onEnd: () => void): void {
    this.#onEnd = onEnd;
    try {
      const task = this.#parts.task ?? this.#decode();
      if (task === undefined) this.#ack();
      else this.#attempt(task);
    } catch (error) {
      this.#leave(error);
    }
  }

  /** Left without a word, the task is delivered again when its time is over. */
  #leave(error: unknown): void {
    const { subject } = this.#parts.delivery.message;
    this.#options.log.error({ err: error, subject }, "task failed outside its handler");
    this.#onEnd();
  }

  #ack(): void {
    this.#parts.delivery.ack();
    this.#onEnd();
  }

  /** Tells the server that the task is alive. */
  heartbeat(): void {
    this.#parts.delivery.working();
  }

  /** The process ends: the handler is told, and the task goes to another worker. */
  abort(): void {
    this.#isStopping = true;
    this.#end(new Error("the worker is shutting down"));
  }

  #end(reason: Error): void {
    this.#abort.abort(reason);
    this.#endAttempt?.(reason);
  }

  /** A task that is not readable names no actor: the actor hears of it at the task's deadline. */
  #decode(): Task | undefined {
    const { message } = this.#parts.delivery;
    try {
      return decode(TaskSchema, message.data);
    } catch (error) {
      this.#options.log.error(
        { err: error, subject: message.subject, sequence: message.sequence },
        "task is not readable",
      );
      return undefined;
    }
  }

  #attempt(task: Task): void {
    const { queue, handle } = this.#parts.service;
    const attempt = this.#attempts;
    if (attempt > queue.retry.attemptsMax) {
      const error = `${queue.retry.attemptsMax} attempts ended without a word`;
      return this.#failLater(task, { kind: "hopeless", error });
    }
    let message;
    try {
      message = decode(queue.input, task.body);
    } catch (error) {
      const why = `the task is no ${queue.input.typeName}: ${textOf(error)}`;
      return this.#failLater(task, { kind: "hopeless", error: why });
    }
    const { timeoutMs } = queue.retry;
    const onTimeout = () => this.#end(new Error(`no result within ${timeoutMs} ms`));
    this.#timer = this.#options.clock.setTimer(onTimeout, timeoutMs);
    const { signal } = this.#abort;
    const { id: taskId, tenant, key, trace } = task;
    // The first of result and end counts: a handler that ignores its signal holds nothing up.
    const onFailure = (error: unknown) => {
      if (this.#isFirst()) this.#failLater(task, { kind: "failed", error: textOf(error) });
    };
    this.#endAttempt = onFailure;
    try {
      const running = handle(message, { taskId, tenant, key, attempt, signal, trace });
      const onResult = (result: MessageInitShape<DescMessage>) => {
        if (this.#isFirst()) this.#done(task, result);
      };
      running.then(onResult, onFailure).catch((error: unknown) => this.#leave(error));
    } catch (error) {
      onFailure(error);
    }
  }

  #isFirst(): boolean {
    const isFirst = this.#endAttempt !== undefined;
    this.#endAttempt = undefined;
    this.#timer?.cancel();
    return isFirst;
  }

  #done(task: Task, result: MessageInitShape<DescMessage>): void {
    const { output } = this.#parts.service.queue;
    let body;
    try {
      body = encode(output, create(output, result));
    } catch (error) {
      return this.#failed(task, { kind: "failed", error: textOf(error) });
    }
    if (body.length <= LIMITS.bodyBytesMax) return this.#report(task, OutcomeStatus.DONE, body, "");
    const error = `the result has ${body.length} bytes, return at most ${LIMITS.bodyBytesMax}`;
    this.#failed(task, { kind: "failed", error });
  }

  /** Whoever runs the task, or aborts it, must not meet its end before that returns. */
  #failLater(task: Task, failure: Failure): void {
    const fail = () => this.#failed(task, failure);
    Promise.resolve()
      .then(fail)
      .catch((error: unknown) => this.#leave(error));
  }

  #failed(task: Task, { kind, error }: Failure): void {
    const { queue } = this.#parts.service;
    const { log, failures } = this.#options;
    const attempt = this.#attempts;
    const fields = { queue: queue.name, taskId: task.id, attempt, error };
    const isLast = kind === "hopeless" || attempt >= queue.retry.attemptsMax;
    if (isLast && !this.#isStopping) {
      log.error(fields, "task given up");
      return this.#report(task, OutcomeStatus.GAVE_UP, new Uint8Array(0), error);
    }
    failures.add(fields);
    this.#retry(task, attempt).then(this.#onEnd, (why: unknown) => this.#leave(why));
  }

  /** The delivery ends only once the outcome is durable. */
  #report(task: Task, status: Status, body: Uint8Array, why: string): void {
    const { topology } = this.#options;
    const { kind, tenant, key, trace, id } = task;
    const error = why.slice(0, ERROR_LENGTH_MAX);
    const value = create(OutcomeSchema, { task: id, status, attempts: this.#attempts, error });
    const entry = create(EntrySchema, { kind, tenant, key, body, source: { case: "outcome", value }, trace });
    const group = topology.groupOf(kind);
    this.#append(group, topology.logOf(group, tenant, key), entry, id, LIMITS.retryDelayMs);
  }

  #append(group: string, log: number, entry: Entry, taskId: string, delayMs: number): void {
    const again = async (error: unknown) => {
      this.#options.log.warn({ err: error, taskId }, "outcome not stored yet");
      if (!this.#isStopping) {
        await sleep(this.#options.clock, delayMs);
        return this.#append(group, log, entry, taskId, Math.min(delayMs * 2, LIMITS.retryDelayMsMax));
      }
      this.#parts.delivery.nak(0);
      this.#onEnd();
    };
    const leave = (error: unknown) => this.#leave(error);
    this.#parts
      .append(group, log, entry)
      .then(() => this.#ack(), again)
      .catch(leave);
  }

  async #retry(task: Task, attempt: number): Promise<void> {
    const { random, bus, topology, clock } = this.#options;
    const { delivery, service } = this.#parts;
    const { queue } = service;
    if (this.#isStopping) return delivery.nak(0);
    const delayMs = retryDelayMs(queue.retry, attempt, random);
    if (delayMs <= NAK_DELAY_MS_MAX) return delivery.nak(delayMs);
    const outcome = await bus.append(laterTask(topology, task, attempt, clock.nowMs() + delayMs));
    // One that is stored without our knowing brings the task twice: handlers and actors take that.
    if (outcome.kind === "stored") delivery.ack();
    else delivery.nak(NAK_DELAY_MS_MAX);
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
