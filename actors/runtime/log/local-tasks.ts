import type { Entry, Task } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Clock } from "../../../platform/clock.ts";
import type { Append, Delivery } from "../bus/bus.ts";
import { AloneMessage, laterTask } from "../tasks/task-message.ts";
import type { Topology } from "../topology.ts";
import type { Input } from "./inputs.ts";

/** Makes first attempts of tasks in the process that owns their log; its task worker does. */
export interface TaskRunner {
  /**
   * Begins the first attempt and ends the delivery as any other: acked when its outcome is durable, or left for a later
   * attempt. It never ends before this returns.
   * @param report gives the outcome to the actor's log; resolves to false if the log is not here any more
   * @returns false if this process does not serve the queue, or has as much under way as it takes
   */
  run(task: Task, delivery: Delivery, report: (entry: Entry) => Promise<boolean>): boolean;
}

/** What the tasks of one log need. */
export interface LocalTasksOptions {
  readonly runner: TaskRunner;
  readonly clock: Clock;
  readonly topology: Topology;
  /** Gives the log an input that is in no stream. */
  readonly push: (input: Input) => void;
}

/** A task under way, with its place in the journal. */
export interface LocalTask {
  readonly task: Task;
  readonly sequence: number;
  readonly index: number;
  /** It is over, or has left a message that must be stored for that. */
  readonly onEnd: (left?: Append) => void;
}

interface Running {
  readonly local: LocalTask;
  /** Set while its outcome waits for the commit. */
  settle: ((isCommitted: boolean) => void) | undefined;
}

/**
 * First attempts of a log's tasks, made at home: the task goes to no stream and its outcome is an input that is in none
 * either. Nothing is lost with the process: the record has the task open until the outcome is committed, and a new
 * owner derives it again, for any worker. Its idempotency key stays the same. An attempt that fails leaves as a message
 * of TASKS, like one that failed elsewhere.
 */
export class LocalTasks {
  readonly #options: LocalTasksOptions;
  /** By the task's id. */
  readonly #running = new Map<string, Running>();
  #isClosed = false;
  /** What the streams' time is ahead of the monotonic clock by, as the newest input has it. */
  #streamAheadMs: number | undefined;

  constructor(options: LocalTasksOptions) {
    this.#options = options;
  }

  /** Takes the streams' time from an input: outcomes have no stored time of their own (J6). */
  heard({ source, atMs, arrivedMs }: Input): void {
    if (source !== "task") this.#streamAheadMs = atMs - arrivedMs;
  }

  /** False: it must go the way of all tasks. `onEnd` is called once, later. */
  start(local: LocalTask): boolean {
    if (this.#isClosed) return false;
    const { task } = local;
    const running: Running = { local, settle: undefined };
    this.#running.set(task.id, running);
    const isStarted = this.#options.runner.run(task, this.#delivery(local), (entry) =>
      this.#report(running, entry),
    );
    if (!isStarted) this.#running.delete(task.id);
    return isStarted;
  }

  /** Inputs that are committed, or had nothing to do. */
  taken(inputs: readonly Input[]): void {
    if (this.#running.size === 0) return;
    for (const { source, body } of inputs) {
      if (source !== "task" || body.case !== "entry" || body.entry.source.case !== "outcome") continue;
      settle(this.#running.get(body.entry.source.value.task), true);
    }
  }

  /** The log is given up: outcomes go to its inbox. @returns tasks that are still under way */
  close(): readonly LocalTask[] {
    this.#isClosed = true;
    const left = [...this.#running.values()];
    this.#running.clear();
    for (const running of left) settle(running, false);
    return left.map(({ local }) => local);
  }

  #delivery(local: LocalTask): Delivery {
    const { task, sequence, onEnd } = local;
    const { clock, topology } = this.#options;
    const end = (left?: Append) => {
      if (this.#running.delete(task.id)) onEnd(left);
    };
    return {
      message: new AloneMessage(topology, task, sequence, this.#streamNowMs(), 0),
      attempt: 1,
      ack: () => end(),
      nak: (delayMs) => end(laterTask(topology, task, 1, clock.nowMs() + delayMs)),
      working: NO_NEED,
    };
  }

  #report(running: Running, entry: Entry): Promise<boolean> {
    if (this.#isClosed) return Promise.resolve(false);
    const { clock, push } = this.#options;
    const { sequence, index } = running.local;
    return new Promise((resolve) => {
      running.settle = resolve;
      push({
        source: "task",
        sequence,
        index,
        isLast: true,
        atMs: this.#streamNowMs(),
        arrivedMs: clock.monotonicMs(),
        body: { case: "entry", entry },
      });
    });
  }

  #streamNowMs(): number {
    const { clock } = this.#options;
    if (this.#streamAheadMs === undefined) return clock.nowMs();
    return Math.floor(clock.monotonicMs() + this.#streamAheadMs);
  }
}

/** Nobody else waits for a task at home. */
const NO_NEED = () => undefined;

function settle(running: Running | undefined, isCommitted: boolean): void {
  const waiting = running?.settle;
  if (running !== undefined) running.settle = undefined;
  waiting?.(isCommitted);
}
