import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type StringValue, StringValueSchema } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { silentLogger } from "../../../platform/log.ts";
import {
  BundleSchema,
  type Entry,
  type Outcome,
  OutcomeStatus,
  TaskSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { clientWorld, settle } from "../client/client-testing.ts";
import { defineTaskQueue, type RetryPolicy, serveTasks, type TaskContext } from "../task-queue.ts";
import { startTaskWorker } from "./task-worker.ts";

const RETRY: RetryPolicy = {
  attemptsMax: 3,
  delayMsMin: 1_000,
  delayMsMax: 60_000,
  timeoutMs: 2_000,
  deadlineMs: Infinity,
};

type Handle = (message: StringValue, context: TaskContext) => Promise<{ value: string }>;

function taskWorld(handle: Handle, retry: Partial<RetryPolicy> = {}) {
  const world = clientWorld();
  const { clock, random, topology, nats } = world;
  const queue = defineTaskQueue({
    name: "mail",
    input: StringValueSchema,
    output: StringValueSchema,
    retry: { ...RETRY, ...retry },
  });
  const bus = nats.connect("tasks");
  const start = (name = "tasks-2") =>
    startTaskWorker({
      ...world,
      bus: nats.connect(name),
      log: silentLogger,
      services: [serveTasks(queue, handle)],
    });
  const worker = startTaskWorker({
    bus,
    clock,
    random,
    topology,
    log: silentLogger,
    services: [serveTasks(queue, handle)],
  });
  const send = (id: string, value: string, raw?: Uint8Array) => {
    const body = toBinary(StringValueSchema, create(StringValueSchema, { value }));
    const task = {
      id,
      queue: "mail",
      kind: "product",
      tenant: "acme",
      key: "p-1",
      body: raw ?? body,
      trace: "",
    };
    return bus.append({
      subject: topology.task("mail", "acme", "p-1", id),
      data: toBinary(TaskSchema, create(TaskSchema, task)),
    });
  };
  const outcomes = () => world.owner.entries.map(outcomeOf);
  return { ...world, bus, worker, start, send, outcomes };
}

function outcomeOf(entry: Entry): Outcome & { result: string } {
  expect(entry.source.case).toBe("outcome");
  const result = fromBinary(StringValueSchema, entry.body).value;
  return { ...(entry.source.value as Outcome), result };
}

it("sends what a handler returns to the task's actor, once it is durable", async () => {
  const { send, outcomes, owner, clock, worker } = taskWorld(async ({ value }) => ({ value: `${value}!` }));
  await send("t-1", "hello");
  await settle();
  expect(outcomes()).toMatchObject([
    { task: "t-1", status: OutcomeStatus.DONE, attempts: 1, result: "hello!" },
  ]);
  expect(owner.entries[0]).toMatchObject({ kind: "product", tenant: "acme", key: "p-1", method: "" });
  await clock.pass(20_000);
  expect(outcomes()).toHaveLength(1);
  await worker.stop();
});

it("tries again with growing rests and the same task id, then gives up", async () => {
  const calls: { attempt: number; id: string; atMs: number }[] = [];
  const { send, outcomes, clock } = taskWorld(async (_, { attempt, taskId }) => {
    calls.push({ attempt, id: taskId, atMs: clock.nowMs() });
    throw new Error("provider is down");
  });
  await send("t-1", "hello");
  await clock.pass(10_000);
  expect(calls.map(({ attempt, id }) => `${id} ${attempt}`)).toEqual(["t-1 1", "t-1 2", "t-1 3"]);
  const [first, second, third] = calls.map(({ atMs }) => atMs);
  expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(500);
  expect((third ?? 0) - (second ?? 0)).toBeGreaterThanOrEqual(1_000);
  expect(outcomes()).toMatchObject([
    { task: "t-1", status: OutcomeStatus.GAVE_UP, attempts: 3, error: "provider is down", result: "" },
  ]);
});

it("leaves the consumer alone during long rests and keeps count over them", async () => {
  const attempts: number[] = [];
  const { send, clock, nats, topology, outcomes } = taskWorld(
    async (_, { attempt }) => {
      attempts.push(attempt);
      throw new Error("no");
    },
    { delayMsMin: 20_000 },
  );
  await send("t-1", "hello");
  await settle();
  const retries = nats.inspect(topology.streams.tasks).filter(({ subject }) => subject.startsWith("retry."));
  expect(retries).toMatchObject([{ subject: topology.retry("mail", "acme", "p-1", "t-1") }]);
  await clock.pass(100_000);
  expect(attempts).toEqual([1, 2, 3]);
  expect(outcomes()).toMatchObject([{ status: OutcomeStatus.GAVE_UP, attempts: 3 }]);
});

it("aborts a handler that takes too long", async () => {
  const { send, clock, outcomes } = taskWorld(
    (_, { signal }) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    { attemptsMax: 1 },
  );
  await send("t-1", "hello");
  await clock.pass(2_100);
  expect(outcomes()).toMatchObject([{ status: OutcomeStatus.GAVE_UP, error: "no result within 2000 ms" }]);
});

it("does not wait for a handler that ignores its signal", async () => {
  const { send, clock, outcomes } = taskWorld(() => new Promise(() => undefined), { attemptsMax: 1 });
  await send("t-1", "hello");
  await clock.pass(2_100);
  expect(outcomes()).toMatchObject([{ status: OutcomeStatus.GAVE_UP }]);
});

it("keeps a long task to itself while it works", async () => {
  let calls = 0;
  const { send, clock, outcomes, start } = taskWorld(
    async () => {
      calls++;
      await new Promise<void>((resolve) => clock.setTimer(resolve, 30_000));
      return { value: "at last" };
    },
    { timeoutMs: 60_000 },
  );
  start();
  await send("t-1", "hello");
  await clock.pass(31_000);
  expect(calls).toBe(1);
  expect(outcomes()).toMatchObject([{ status: OutcomeStatus.DONE, result: "at last" }]);
});

it("gives up what it cannot read and goes on with the next", async () => {
  const { send, bus, topology, outcomes } = taskWorld(async ({ value }) => ({ value }));
  await bus.append({
    subject: topology.task("mail", "acme", "p-1", "t-0"),
    data: new Uint8Array([255, 255]),
  });
  await send("t-1", "", new Uint8Array([255, 255]));
  await send("t-2", "fine");
  await settle();
  expect(outcomes()).toMatchObject([
    { task: "t-1", status: OutcomeStatus.GAVE_UP },
    { task: "t-2", status: OutcomeStatus.DONE, result: "fine" },
  ]);
});

it("gives up a task whose last attempt ended without a word", async () => {
  let calls = 0;
  const { send, nats, bus, clock, outcomes, start } = taskWorld(
    () => {
      calls++;
      return new Promise(() => undefined);
    },
    { attemptsMax: 1 },
  );
  await send("t-1", "hello");
  await settle();
  nats.crash(bus);
  start();
  await clock.pass(4_000);
  expect(calls).toBe(1);
  expect(outcomes()).toMatchObject([{ status: OutcomeStatus.GAVE_UP }]);
});

it("waits for running handlers when it stops, and takes nothing more", async () => {
  const { send, clock, outcomes, worker } = taskWorld(async ({ value }) => {
    await new Promise<void>((resolve) => clock.setTimer(resolve, 1_000));
    return { value };
  });
  await send("t-1", "hello");
  await settle();
  const stopped = worker.stop();
  await send("t-2", "too late");
  await clock.pass(1_500);
  await stopped;
  expect(outcomes()).toMatchObject([{ task: "t-1", status: OutcomeStatus.DONE }]);
  expect(worker.running()).toBe(0);
});

it("hands a task that does not end over to another worker when it stops", async () => {
  let calls = 0;
  const { send, clock, outcomes, worker, start } = taskWorld(
    async (_, { signal }) => {
      if (++calls > 1) return { value: "second" };
      await new Promise<void>((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason)),
      );
      return { value: "first" };
    },
    { timeoutMs: 60_000 },
  );
  await send("t-1", "hello");
  await settle();
  const stopped = worker.stop();
  start();
  await clock.pass(6_000);
  await stopped;
  expect(outcomes()).toMatchObject([{ status: OutcomeStatus.DONE, result: "second", attempts: 2 }]);
});

it("acks only when the outcome is stored", async () => {
  const { send, nats, clock, outcomes, topology } = taskWorld(async ({ value }) => ({ value }));
  nats.faults = {
    ...nats.faults,
    operation: ({ kind, target }) =>
      kind === "append" && target.includes("inbox") ? { isRequestLost: true } : undefined,
  };
  await send("t-1", "hello");
  await clock.pass(10_000);
  expect(outcomes()).toEqual([]);
  nats.faults = { ...nats.faults, operation: () => undefined };
  await clock.pass(3_000);
  const bundles = nats.inspect(topology.streams.inbox).map(({ data }) => fromBinary(BundleSchema, data));
  expect(bundles.flatMap(({ entries }) => entries)).toHaveLength(1);
  expect(outcomes()).toMatchObject([{ status: OutcomeStatus.DONE, attempts: 1 }]);
});
