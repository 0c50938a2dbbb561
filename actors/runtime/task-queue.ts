import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

/** How often and how patiently a task is tried before it is given up. */
export interface RetryPolicy {
  /** Calls of the handler, the first included; Infinity for work that must not be given up. */
  readonly attemptsMax: number;
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  /** One call of the handler. */
  readonly timeoutMs: number;
  /** From the commit of the task on; after it the actor is told `lost`. Infinity: never. */
  readonly deadlineMs: number;
}

/** The name and the contract of a task queue; actors refer to it, a task worker serves it. */
export interface TaskQueue<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  readonly name: string;
  readonly input: I;
  readonly output: O;
  readonly retry: RetryPolicy;
}

/** What a task handler gets beside its message. */
export interface TaskContext {
  /** Stable over all attempts: the idempotency key for the outside world. */
  readonly taskId: string;
  readonly tenant: string;
  readonly key: string;
  /** 1 at the first. */
  readonly attempt: number;
  /** Aborted at the attempt's timeout and at shutdown. */
  readonly signal: AbortSignal;
  readonly trace: string;
}

/** One asynchronous handler per queue. What it throws is retried by the policy; what it returns is the outcome. */
export type TaskHandler<I extends DescMessage, O extends DescMessage> = (
  message: MessageShape<I>,
  context: TaskContext,
) => Promise<MessageInitShape<O>>;

/** A queue with its handler, as a worker serves it. */
export interface TaskService {
  readonly queue: TaskQueue;
  readonly handle: TaskHandler<DescMessage, DescMessage>;
}

/** Declares a queue. Names are `[a-z0-9][a-z0-9_-]{0,62}`. */
export function defineTaskQueue<I extends DescMessage, O extends DescMessage>(
  queue: TaskQueue<I, O>,
): TaskQueue<I, O> {
  return queue;
}

/** Binds a handler to its queue. */
export function serveTasks<I extends DescMessage, O extends DescMessage>(
  queue: TaskQueue<I, O>,
  handle: TaskHandler<I, O>,
): TaskService {
  return { queue, handle: handle as unknown as TaskHandler<DescMessage, DescMessage> };
}
