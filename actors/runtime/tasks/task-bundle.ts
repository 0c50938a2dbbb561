import type { Clock } from "../../../platform/clock.ts";
import { TaskBundleSchema, type Task } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Bus, Delivery, StoredMessage } from "../bus/bus.ts";
import { HEADER } from "../headers.ts";
import type { Topology } from "../topology.ts";
import { AloneMessage, laterTask } from "./task-message.ts";
import { decode } from "../codec/decode.ts";

/** What splitting a bundle needs. */
export interface TaskBundleOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly topology: Topology;
}

/** One task of a bundle, as if it had come alone. */
export interface TaskDelivery {
  readonly delivery: Delivery;
  readonly task: Task;
}

/** True for a message that holds several tasks. */
export function isTaskBundle({ headers }: StoredMessage): boolean {
  return headers[HEADER.entries] !== undefined;
}

/**
 * Splits the delivery of a bundle into one for each task. A task that must be tried again leaves the bundle: it is
 * stored as a message of its own, due after its rest. The bundle is acked when every task has ended or left.
 * @throws Error if the message is no bundle
 */
export function splitBundle(options: TaskBundleOptions, delivery: Delivery): readonly TaskDelivery[] {
  const { tasks } = decode(TaskBundleSchema, delivery.message.data);
  const bundle = new Bundle(options, delivery, tasks.length);
  return tasks.map((task) => ({ task, delivery: bundle.part(task) }));
}

class Bundle {
  readonly #options: TaskBundleOptions;
  readonly #delivery: Delivery;
  #left: number;
  #hasFailed = false;

  constructor(options: TaskBundleOptions, delivery: Delivery, count: number) {
    this.#options = options;
    this.#delivery = delivery;
    this.#left = count;
    if (count === 0) delivery.ack();
  }

  part(task: Task): Delivery {
    const { topology } = this.#options;
    const { message, attempt } = this.#delivery;
    const before = Number(message.headers[HEADER.attempt] ?? 0);
    return {
      message: new AloneMessage(topology, task, message.sequence, message.timestampMs, before),
      attempt,
      ack: () => this.#end(true),
      nak: (delayMs) => void this.#leave(task, before + attempt, delayMs),
      working: () => this.#delivery.working(),
    };
  }

  async #leave(task: Task, attempts: number, delayMs: number): Promise<void> {
    const { bus, clock, topology } = this.#options;
    const outcome = await bus.append(laterTask(topology, task, attempts, clock.nowMs() + delayMs));
    this.#end(outcome.kind === "stored");
  }

  #end(isDurable: boolean): void {
    this.#left--;
    this.#hasFailed ||= !isDurable;
    if (this.#left > 0) return;
    if (this.#hasFailed) this.#delivery.nak(0);
    else this.#delivery.ack();
  }
}
