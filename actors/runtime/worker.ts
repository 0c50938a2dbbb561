import type { Clock } from "../../platform/clock.ts";
import type { Logger } from "../../platform/log.ts";
import type { Random } from "../../platform/random.ts";
import type { ActorDefinition } from "./actor.ts";
import type { Bus } from "./bus.ts";
import type { ProjectionDefinition } from "./projection.ts";
import type { TaskService } from "./task-queue.ts";
import type { Topology } from "./topology.ts";

/** What a worker needs from outside; a simulation gives its own clock, randomness and bus. */
export interface WorkerOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly topology: Topology;
  readonly group: string;
  /** Unique among live workers of the group; a restarted process may keep it and then needs not wait for its old lease. */
  readonly workerId: string;
  readonly actors: readonly ActorDefinition[];
  readonly projections: readonly ProjectionDefinition[];
}

/** A running worker of one group. */
export interface Worker {
  /** Logs owned now. */
  owned(): readonly number[];
  /** Why the worker is unwell, undefined when it is not. */
  problem(): string | undefined;
  /** Finishes, projects and hands its logs over; resolves when nothing of it runs any more. */
  stop(): Promise<void>;
}

/** A running server of task queues. */
export interface TaskWorkerOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly topology: Topology;
  readonly services: readonly TaskService[];
  /** Tasks of one queue that this process works on at once. */
  readonly inFlightMax?: number;
}
