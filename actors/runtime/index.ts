// The public door of the actor runtime: what domains, gateway and command line may use.
export { defineActor, Deferred, kindOf } from "./actor.ts";
export type { ActorContext, ActorDefinition, Handler, Handlers, TaskOutcome } from "./actor.ts";
export { DomainError } from "./domain-error.ts";
export { defineTaskQueue, serveTasks } from "./task-queue.ts";
export type { RetryPolicy, TaskContext, TaskHandler, TaskQueue, TaskService } from "./task-queue.ts";
export { defineProjection, on } from "./projection.ts";
export type { EventMeta, ProjectionContext, ProjectionDefinition } from "./projection.ts";
export { createTopology, isKey, isToken } from "./topology.ts";
export type { Topology } from "./topology.ts";
export { createActorClient } from "./client/actor-client.ts";
export type { ActorClientOptions } from "./client/actor-client.ts";
export { toldMs } from "./client/admission.ts";
export { CallError } from "./client.ts";
export type {
  ActorAddress,
  ActorClient,
  CallOptions,
  CallResult,
  DeadLetterInfo,
  ReadResult,
  RecordUpdate,
  StoredEvent,
  Watch,
} from "./client.ts";
export { create } from "./codec/create.ts";
export { readJson } from "./codec/read-json.ts";
export { writeJson } from "./codec/write-json.ts";
export type { JsonForm } from "./codec/compile-json-writer.ts";
export { LIMITS } from "./limits.ts";
export { startWorker } from "./worker/worker.ts";
export type { Bus } from "./bus/bus.ts";
export type { TaskWorkerOptions, Worker, WorkerOptions } from "./worker/worker.ts";
export { startTaskWorker } from "./tasks/task-worker.ts";
export type { TaskWorker } from "./tasks/task-worker.ts";
export { createJetStreamBus } from "./bus/bus-jetstream.ts";
export type { JetStreamBus } from "./bus/bus-jetstream.ts";
export { ensureTopology, storedTopology } from "./bus/bootstrap-jetstream.ts";
export { examineLogs } from "./bus/examine.ts";
export type { LogCondition } from "./bus/examine.ts";
export { examineStreams } from "./bus/examine-jetstream.ts";
export type { StreamCondition } from "./bus/examine-jetstream.ts";
