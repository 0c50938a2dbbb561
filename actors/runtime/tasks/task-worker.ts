import { sleep, type TimerHandle } from "../../../platform/clock.ts";
import type { Entry, Task } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Delivery, Subscription } from "../bus/bus.ts";
import { InboxWriter } from "../inbox-writer.ts";
import type { TaskRunner } from "../log/local-tasks.ts";
import { FailureLog } from "./failure-log.ts";
import { type AppendOutcomeEntry, RunningTask, type RunningTaskParts } from "./running-task.ts";
import { isTaskBundle, splitBundle } from "./task-bundle.ts";
import type { TaskService } from "../task-queue.ts";
import type { TaskWorkerOptions } from "../worker/worker.ts";

/** A running server of task queues. Given to the worker of this process, it makes the first attempts of its tasks. */
export interface TaskWorker extends TaskRunner {
  /** Deliveries that are worked on. */
  running(): number;
  /**
   * Takes no more tasks and waits some seconds for those that run; the rest is aborted and goes to another worker.
   * Resolves when nothing of it runs any more.
   */
  stop(): Promise<void>;
}

/** A task whose worker is silent for so long is delivered to another one. */
const ACK_WAIT_MS = 3_000;
/** Word to the server that tasks are worked on: several may be lost before it gives up. */
const HEARTBEAT_MS = ACK_WAIT_MS / 3;
/** Deliveries of one queue without an ack, over all workers. */
const ACK_PENDING_MAX = 8_192;
/** Deliveries of one queue worked on at once by one process; a bundle is one. */
const IN_FLIGHT_MAX = 128;
/** Tasks under way in one process up to which it begins first attempts at home. */
const AT_HOME_MAX = 1_024;
const BEATS_PER_PURGE = 5;
/** How long `stop` waits for handlers, and then for what they leave behind. */
const STOP_WAIT_MS = 5_000;
const STOP_POLL_MS = 20;

/** Starts to serve task queues: one durable consumer per queue, shared by all processes that serve it. */
export function startTaskWorker(options: TaskWorkerOptions): TaskWorker {
  return new Worker(options);
}

class Worker implements TaskWorker {
  readonly #options: TaskWorkerOptions & { readonly failures: FailureLog };
  readonly #writer: InboxWriter;
  /** Set with the fields: V8 gives a function that is assigned to a property to the old generation at once. */
  readonly #append: AppendOutcomeEntry = (group, log, entry) => this.#writer.append(group, log, entry);
  readonly #services: ReadonlyMap<string, TaskService>;
  readonly #running = new Set<RunningTask>();
  readonly #pulls: readonly Subscription[];
  #heartbeat: TimerHandle | undefined;
  #beats = 0;
  #stopped: Promise<void> | undefined;

  constructor(options: TaskWorkerOptions) {
    this.#options = { ...options, failures: new FailureLog(options.log) };
    this.#writer = new InboxWriter(options);
    this.#services = new Map(options.services.map((service) => [service.queue.name, service]));
    this.#pulls = options.services.map((service) => this.#pull(service));
    this.#beat();
  }

  running(): number {
    return this.#running.size;
  }

  run(task: Task, delivery: Delivery, report: (entry: Entry) => Promise<boolean>): boolean {
    const service = this.#services.get(task.queue);
    if (service === undefined || this.#stopped !== undefined || this.#running.size >= AT_HOME_MAX)
      return false;
    const append: AppendOutcomeEntry = (group, log, entry) =>
      report(entry).then((isCommitted) => (isCommitted ? undefined : this.#append(group, log, entry)));
    this.#work({ service, delivery, append, task });
    return true;
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  #pull(service: TaskService): Subscription {
    const { bus, topology, inFlightMax = IN_FLIGHT_MAX } = this.#options;
    const { name } = service.queue;
    return bus.pull({
      stream: topology.streams.tasks,
      consumer: topology.consumer(name),
      description: `Tradewind: workers of the queue ${name}; a task ends with its outcome`,
      filter: topology.task(name, "*", "*", "*"),
      ackWaitMs: ACK_WAIT_MS,
      ackPendingMax: ACK_PENDING_MAX,
      inFlightMax,
      onDelivery: (delivery) => this.#start(service, delivery),
    });
  }

  #start(service: TaskService, delivery: Delivery): void {
    const append = this.#append;
    if (!isTaskBundle(delivery.message)) return this.#work({ service, delivery, append });
    try {
      for (const part of splitBundle(this.#options, delivery)) this.#work({ service, append, ...part });
    } catch (error) {
      // Its tasks' actors hear of it at the tasks' deadlines.
      this.#options.log.error(
        { err: error, subject: delivery.message.subject },
        "bundle of tasks is not readable",
      );
      delivery.ack();
    }
  }

  #work(parts: RunningTaskParts): void {
    const running = new RunningTask(this.#options, parts);
    this.#running.add(running);
    running.run(() => this.#running.delete(running));
  }

  #beat(): void {
    this.#heartbeat = this.#options.clock.setTimer(() => {
      for (const task of this.#running) task.heartbeat();
      this.#options.failures.flush();
      if (++this.#beats % BEATS_PER_PURGE === 0) this.#purge();
      this.#beat();
    }, HEARTBEAT_MS);
  }

  /** Drops what every worker of a queue is done with; rests that are scheduled are other subjects and stay (J19). */
  #purge(): void {
    const { bus, topology, services, log } = this.#options;
    for (const { queue } of services) {
      const filter = topology.task(queue.name, "*", "*", "*");
      bus
        .purgeAcked(topology.streams.tasks, topology.consumer(queue.name), filter)
        .catch((error: unknown) =>
          log.debug({ err: error, queue: queue.name }, "tasks not purged, next time"),
        );
    }
  }

  async #stop(): Promise<void> {
    for (const pull of this.#pulls) pull.close();
    await this.#drained();
    for (const task of this.#running) task.abort();
    await this.#drained();
    this.#writer.close();
    await this.#drained();
    this.#heartbeat?.cancel();
    this.#options.failures.flush();
  }

  async #drained(): Promise<void> {
    const { clock } = this.#options;
    const deadlineMs = clock.monotonicMs() + STOP_WAIT_MS;
    while (this.#running.size > 0 && clock.monotonicMs() < deadlineMs) await sleep(clock, STOP_POLL_MS);
  }
}
