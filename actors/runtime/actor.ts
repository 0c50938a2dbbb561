import type {
  DescMessage,
  DescMethod,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { assert } from "./assert.ts";
import type { TaskQueue } from "./task-queue.ts";

/** Returned by a handler that answers later, with {@link ActorContext.resolve}. */
export class Deferred {
  readonly tag: string;
  constructor(tag: string) {
    this.tag = tag;
  }
}

/** Where the outcome that a handler is called with comes from. */
export interface TaskOutcome {
  /** Id of the task, the idempotency key that the outside world has seen. */
  readonly taskId: string;
  /** `done`: the message is the task's result. Otherwise it is empty and whether the task took effect is unknown. */
  readonly status: "done" | "gave_up" | "lost";
  /** A definite outcome after the task had been given up (J20). */
  readonly late: boolean;
  readonly attempts: number;
  readonly error: string;
}

/**
 * What a handler sees and may do. Handlers are synchronous and do no I/O; what they change and cause becomes durable
 * together with their input, once, or not at all.
 */
export interface ActorContext<S extends DescMessage> {
  readonly tenant: string;
  readonly key: string;
  /** The actor's state, to read and to change. All fields are unset in a new actor. */
  readonly state: MessageShape<S>;
  /** True until the first handler of this actor has succeeded. */
  readonly isNew: boolean;
  /** Number of changes so far; grows by one with each applied message. */
  readonly revision: bigint;
  /** Time of the input, in ms since 1970; never goes back within one actor. */
  readonly nowMs: number;
  /** Set in the rpc that takes a task's outcome. */
  readonly outcome: TaskOutcome | undefined;
  /** A name that is unique for ever and the same when the input is applied again; `prefix_` goes before it. */
  id(prefix?: string): string;
  /** Sends to another actor of the tenant; it arrives exactly once and in the order sent. */
  send<M extends DescMethodUnary>(
    method: M,
    key: string,
    message: MessageInitShape<M["input"]>,
    options?: { readonly fresh?: boolean },
  ): void;
  /** Calls `method` of this actor after `delayMs`. Arming a name again replaces its timer. */
  timer<M extends DescMethodUnary>(
    name: string,
    delayMs: number,
    method: M,
    message: MessageInitShape<M["input"]>,
  ): void;
  /** Does nothing if no such timer is armed. */
  cancelTimer(name: string): void;
  /**
   * Hands work for the outside world to a task queue; `method` of this actor takes the outcome, exactly once (and once
   * more, marked late, when a definite one comes after "unknown").
   * @returns the task's id, the idempotency key to use outside
   */
  task<I extends DescMessage, O extends DescMessage>(
    queue: TaskQueue<I, O>,
    message: MessageInitShape<I>,
    method: DescMethodUnary<O>,
  ): string;
  /** Publishes a domain event: `ev.<tenant>.<kind>.<key>.<event>`, protobuf-JSON. */
  emit<E extends DescMessage>(schema: E, message: MessageInitShape<E>): void;
  /** Appends this actor to a list of its tenant; fields must never change, they are what a reader filters by. */
  list(name: string, fields: Readonly<Record<string, string>>): void;
  /**
   * `return ctx.defer("SETTLED")`: the request is answered by `resolve` with the same tag, also from a later
   * message.
   */
  defer(tag: string): Deferred;
  /** Answers all requests that wait under the tag; `method` is the one that was deferred. */
  resolve<M extends DescMethodUnary>(tag: string, method: M, message: MessageInitShape<M["output"]>): void;
  /** Lets the record expire this long after its last change; 0 keeps it. Only for final states (J22). */
  expireAfter(ttlSeconds: number): void;
}

/** Synchronous on purpose: with no I/O inside a batch, many messages share one commit. */
export type Handler<S extends DescMessage, M extends DescMethodUnary> = (
  ctx: ActorContext<S>,
  message: MessageShape<M["input"]>,
) => MessageInitShape<M["output"]> | Deferred;

type UnaryMethods<A extends DescService> = { [K in keyof A["method"]]: A["method"][K] & DescMethodUnary };

/** One handler per rpc of the actor's protobuf service; a missing one does not compile. */
export type Handlers<A extends DescService, S extends DescMessage> = {
  readonly [K in keyof A["method"]]: Handler<S, UnaryMethods<A>[K]>;
};

/** A handler with its rpc. */
export interface ActorHandler {
  readonly method: DescMethodUnary;
  readonly run: Handler<DescMessage, DescMethodUnary>;
}

/** An actor kind as the runtime runs it. */
export interface ActorDefinition {
  /** Third segment of the package: `tradewind.actors.order.v1` holds the kind `order`. */
  readonly kind: string;
  readonly service: DescService;
  readonly state: DescMessage;
  /** By rpc name as the proto spells it. */
  readonly handlers: ReadonlyMap<string, ActorHandler>;
  /** Rpcs that may meet an actor without a record; others refuse it as NOT_FOUND, or drop firings and outcomes. */
  readonly creates: ReadonlySet<string>;
}

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === "unary";
}

const kinds = new Map<DescService, string>();

/** Kind of an actor service, by the package convention. */
export function kindOf(service: DescService): string {
  const known = kinds.get(service);
  if (known !== undefined) return known;
  const [, , kind] = service.typeName.split(".");
  assert(
    kind && service.typeName.startsWith("tradewind.actors."),
    `${service.typeName} is not an actor service`,
  );
  kinds.set(service, kind);
  return kind;
}

/**
 * Declares an actor kind: one protobuf service, one state message, one handler per rpc.
 * @param options.creates names (as in the handlers) of the rpcs that may open a new actor
 */
export function defineActor<A extends DescService, S extends DescMessage>(
  service: A,
  state: S,
  handlers: Handlers<A, S>,
  options: { readonly creates: readonly (keyof A["method"] & string)[] },
): ActorDefinition {
  const entries = service.methods.map((method): [string, ActorHandler] => {
    assert(isUnary(method), `${method.name} of ${service.typeName} is not unary`);
    const run = handlers[method.localName as keyof A["method"]] as unknown as Handler<
      DescMessage,
      DescMethodUnary
    >;
    assert(run, `${service.typeName} has no handler for ${method.name}`);
    return [method.name, { method, run }];
  });
  const creates = service.methods.filter((m) => options.creates.includes(m.localName)).map((m) => m.name);
  return { kind: kindOf(service), service, state, handlers: new Map(entries), creates: new Set(creates) };
}
