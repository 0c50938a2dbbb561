import { type Clock, sleep } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import type { Random } from "../../../platform/random.ts";
import {
  EntrySchema,
  OutcomeSchema,
  OutcomeStatus,
  type Task,
  TaskSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Bus, Delivery } from "../bus/bus.ts";
import { HEADER } from "../headers.ts";
import type { InboxWriter } from "../inbox-writer.ts";
import { LIMITS } from "../limits.ts";
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
  readonly topology: Topology;
  readonly writer: Pick<InboxWriter, "append">;
}

/** A longer rest is a schedule: a delivery that waits counts against the consumer's limit. */
const NAK_DELAY_MS_MAX = 5_000;
/** From this attempt on a task that is never given up is somebody's business. */
const ALERT_ATTEMPTS_MIN = 8;
/** Why a task was given up, as the actor is told. */
const ERROR_LENGTH_MAX = 500;

type Status = typeof OutcomeStatus.DONE | typeof OutcomeStatus.GAVE_UP;
/** What one call of the handler came to. */
type Attempt =
  | { readonly kind: "done"; readonly body: Uint8Array }
  | { readonly kind: "failed"; readonly error: string }
  | { readonly kind: "hopeless"; readonly error: string };

/**
 * One delivery of a task: calls the handler once and ends the delivery by an outcome that is durable, or by a rest.
 * Acks are not fenced and do no harm: only an outcome that is stored is acked, and actors take each outcome once.
 */
export class RunningTask {
  readonly #options: RunningTaskOptions;
  readonly #service: TaskService;
  readonly #delivery: Delivery;
  /** Of the attempt: its timeout, or the end of the process. */
  readonly #abort = new AbortController();
  /** Ends the attempt under way. Not a listener of the signal: those cost more than the rest of an attempt. */
  #endAttempt: ((reason: Error) => void) | undefined;
  #isStopping = false;
  readonly #log: Logger;

  readonly #task: Task | undefined;

  /** @param task what the delivery holds, if it has been read */
  constructor(options: RunningTaskOptions, service: TaskService, delivery: Delivery, task?: Task) {
    this.#options = options;
    this.#service = service;
    this.#delivery = delivery;
    this.#task = task;
    this.#log = options.log;
  }

  /** Never throws. */
  async run(): Promise<void> {
    try {
      const task = this.#task ?? this.#decode();
      if (task === undefined) this.#delivery.ack();
      else await this.#finish(task, await this.#attempt(task));
    } catch (error) {
      // Left without a word, the task is delivered again when its time is over.
      this.#log.error(
        { err: error, subject: this.#delivery.message.subject },
        "task failed outside its handler",
      );
    }
  }

  /** Tells the server that the task is alive. */
  heartbeat(): void {
    this.#delivery.working();
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
    const { message } = this.#delivery;
    try {
      return decode(TaskSchema, message.data);
    } catch (error) {
      this.#log.error(
        { err: error, subject: message.subject, sequence: message.sequence },
        "task is not readable",
      );
      return undefined;
    }
  }

  /** Attempts used, this one included. */
  #attemptNumber(): number {
    const before = Number(this.#delivery.message.headers[HEADER.attempt] ?? 0);
    return (Number.isFinite(before) ? before : 0) + this.#delivery.attempt;
  }

  async #attempt(task: Task): Promise<Attempt> {
    const { queue } = this.#service;
    const attempt = this.#attemptNumber();
    if (attempt > queue.retry.attemptsMax) {
      return { kind: "hopeless", error: `${queue.retry.attemptsMax} attempts ended without a word` };
    }
    let message;
    try {
      message = decode(queue.input, task.body);
    } catch (error) {
      return { kind: "hopeless", error: `the task is no ${queue.input.typeName}: ${textOf(error)}` };
    }
    const { timeoutMs } = queue.retry;
    const onTimeout = () => this.#end(new Error(`no result within ${timeoutMs} ms`));
    const timer = this.#options.clock.setTimer(onTimeout, timeoutMs);
    const { signal } = this.#abort;
    const { id: taskId, tenant, key, trace } = task;
    try {
      const running = this.#service.handle(message, { taskId, tenant, key, attempt, signal, trace });
      const output = create(queue.output, await this.#settledOrEnded(running));
      const body = encode(queue.output, output);
      if (body.length <= LIMITS.bodyBytesMax) return { kind: "done", body };
      return {
        kind: "failed",
        error: `the result has ${body.length} bytes, return at most ${LIMITS.bodyBytesMax}`,
      };
    } catch (error) {
      return { kind: "failed", error: textOf(error) };
    } finally {
      timer.cancel();
    }
  }

  /** The result, or the reason of the end: a handler that ignores its signal holds nothing up. */
  #settledOrEnded<T>(running: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const { signal } = this.#abort;
      if (signal.aborted) reject(signal.reason);
      this.#endAttempt = reject;
      running.then(resolve, reject);
    });
  }

  async #finish(task: Task, result: Attempt): Promise<void> {
    const attempt = this.#attemptNumber();
    const { queue } = this.#service;
    if (result.kind === "done") return this.#report(task, OutcomeStatus.DONE, attempt, result.body, "");
    const { error } = result;
    const fields = { queue: queue.name, taskId: task.id, attempt, error };
    const isLast = result.kind === "hopeless" || attempt >= queue.retry.attemptsMax;
    if (isLast && !this.#isStopping) {
      this.#log.error(fields, "task given up");
      return this.#report(task, OutcomeStatus.GAVE_UP, attempt, new Uint8Array(0), error);
    }
    if (attempt >= ALERT_ATTEMPTS_MIN) this.#log.error(fields, "task fails again and again");
    else this.#log.warn(fields, "task failed");
    return this.#retry(task, attempt);
  }

  /** The delivery ends only once the outcome is durable. */
  async #report(
    task: Task,
    status: Status,
    attempts: number,
    body: Uint8Array,
    error: string,
  ): Promise<void> {
    const { writer, topology, clock } = this.#options;
    const { kind, tenant, key, trace } = task;
    const value = create(OutcomeSchema, {
      task: task.id,
      status,
      attempts,
      error: error.slice(0, ERROR_LENGTH_MAX),
    });
    const entry = create(EntrySchema, { kind, tenant, key, body, source: { case: "outcome", value }, trace });
    const group = topology.groupOf(kind);
    const log = topology.logOf(group, tenant, key);
    for (
      let delayMs: number = LIMITS.retryDelayMs;
      ;
      delayMs = Math.min(delayMs * 2, LIMITS.retryDelayMsMax)
    ) {
      try {
        await writer.append(group, log, entry);
        this.#delivery.ack();
        return;
      } catch (error_) {
        this.#log.warn({ err: error_, taskId: task.id }, "outcome not stored yet");
      }
      if (this.#isStopping) break;
      await sleep(clock, delayMs);
    }
    this.#delivery.nak(0);
  }

  async #retry(task: Task, attempt: number): Promise<void> {
    const { random, bus, topology, clock } = this.#options;
    const { queue } = this.#service;
    if (this.#isStopping) return this.#delivery.nak(0);
    const delayMs = retryDelayMs(queue.retry, attempt, random);
    if (delayMs <= NAK_DELAY_MS_MAX) return this.#delivery.nak(delayMs);
    const outcome = await bus.append(laterTask(topology, task, attempt, clock.nowMs() + delayMs));
    // One that is stored without our knowing brings the task twice: handlers and actors take that.
    if (outcome.kind === "stored") this.#delivery.ack();
    else this.#delivery.nak(NAK_DELAY_MS_MAX);
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
