import {
  toBinary,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  EntrySchema,
  OutcomeStatus,
  type Entry,
  type Event,
  type Task,
  type Timer,
} from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { Deferred, type ActorDefinition } from "./actor.ts";
import { DomainError } from "./domain-error.ts";
import { MemoryRecord } from "./step/record.ts";
import { applyEntry } from "./step/step.ts";
import type { StepResult } from "./step/step-run.ts";
import type { PendingReply } from "./step/step-context.ts";
import { decode } from "./codec/decode.ts";
import { create } from "./codec/create.ts";

/** Where a probe's clock starts. */
const START_MS = 1_700_000_000_000;

/**
 * One actor without NATS, through the runtime's own step: what a handler does is seen at once.
 * Time stands still unless `nowMs` is changed.
 */
export class ActorProbe {
  readonly key: string;
  readonly tenant: string;
  nowMs: number;
  /** Messages sent so far, list appends (kind `list`) included. */
  readonly sent: Entry[] = [];
  readonly events: Event[] = [];
  readonly tasks: Task[] = [];
  readonly replies: PendingReply[] = [];
  readonly #definition: ActorDefinition;
  readonly #record: MemoryRecord;
  #count = 0;

  constructor(
    definition: ActorDefinition,
    key: string,
    options: { readonly tenant?: string; readonly nowMs?: number } = {},
  ) {
    this.#definition = definition;
    this.key = key;
    this.tenant = options.tenant ?? "demo";
    this.nowMs = options.nowMs ?? START_MS;
    this.#record = new MemoryRecord(definition.kind, this.tenant, key);
  }

  /** The state as a reader would see it. */
  get state(): never {
    return this.stateAs(this.#definition.state) as never;
  }

  stateAs<S extends DescMessage>(schema: S): MessageShape<S> {
    return this.#record.open(schema).state as MessageShape<S>;
  }

  get revision(): bigint {
    return this.#record.open(this.#definition.state).meta.revision;
  }

  /** Armed timers, the runtime's own excluded. */
  get timers(): readonly Timer[] {
    return this.#record
      .open(this.#definition.state)
      .meta.timers.filter((timer) => !timer.name.startsWith("~"));
  }

  /** Seconds that the record is kept from now on, 0 for ever. */
  get ttlSeconds(): number {
    return this.#record.open(this.#definition.state).meta.ttlSeconds;
  }

  get openTasks(): readonly string[] {
    return this.#record.open(this.#definition.state).meta.tasks.map((task) => task.id);
  }

  /** A command from outside. @returns the reply, or Deferred. @throws DomainError what the actor refused with */
  request<M extends DescMethodUnary>(
    method: M,
    message: MessageInitShape<M["input"]>,
    options: { readonly requestId?: string } = {},
  ): MessageShape<M["output"]> | Deferred {
    const id = options.requestId ?? `request-${this.#count + 1}`;
    const body = toBinary(method.input, create(method.input, message));
    const source = {
      case: "request" as const,
      value: { id, fingerprint: body, replyTo: "probe", correlation: 1n },
    };
    const before = this.replies.length;
    this.#apply(create(EntrySchema, { ...this.#address(method.name, body), source: source as never }));
    const reply = this.replies.slice(before).find((r) => r.request.id === id)?.result;
    if (reply?.case === "refusal")
      throw DomainError.of(reply.value.reason, reply.value.message, reply.value.metadata);
    if (reply?.case === "reply") return decode(method.output, reply.value) as MessageShape<M["output"]>;
    return new Deferred("");
  }

  /** A message from another actor. @throws Error if it would become a dead letter */
  deliver<M extends DescMethodUnary>(method: M, message: MessageInitShape<M["input"]>): void {
    this.#apply(
      create(EntrySchema, this.#address(method.name, toBinary(method.input, create(method.input, message)))),
    );
  }

  /** Delivers an entry that another probe has sent. */
  deliverEntry(entry: Entry): void {
    this.#apply(entry);
  }

  /** Lets the armed timer fire at its deadline; the clock moves there. */
  fire(name: string): void {
    const timer = this.#record.open(this.#definition.state).meta.timers.find((armed) => armed.name === name);
    if (!timer) throw new Error(`no timer ${name} is armed`);
    this.nowMs = Math.max(this.nowMs, Number(timer.deadlineMs));
    const value = { timer: name, arm: timer.arm, deadlineMs: timer.deadlineMs };
    this.#apply(
      create(EntrySchema, {
        ...this.#address("", new Uint8Array(0)),
        source: { case: "firing", value: value as never },
      }),
    );
  }

  /** Delivers the outcome of a task: its result, or `gave_up` or `lost`. */
  outcome<O extends DescMessage>(
    taskId: string,
    result: "gave_up" | "lost" | { readonly schema: O; readonly message: MessageInitShape<O> },
  ): void {
    const body =
      typeof result === "string"
        ? new Uint8Array(0)
        : toBinary(result.schema, create(result.schema, result.message));
    const status =
      result === "lost"
        ? OutcomeStatus.LOST
        : result === "gave_up"
          ? OutcomeStatus.GAVE_UP
          : OutcomeStatus.DONE;
    const value = { task: taskId, status, attempts: 1, error: "" };
    this.#apply(
      create(EntrySchema, { ...this.#address("", body), source: { case: "outcome", value: value as never } }),
    );
  }

  #address(method: string, body: Uint8Array) {
    return { kind: this.#definition.kind, tenant: this.tenant, key: this.key, method, body };
  }

  #apply(entry: Entry): StepResult {
    const env = { atMs: this.nowMs, origin: `${this.key}-p${++this.#count}` };
    const result = applyEntry(this.#definition, this.#record, entry, env, true);
    if (result.kind === "failed") throw new Error(`dead letter ${result.reason}: ${result.error}`);
    if (result.kind !== "dropped") {
      this.sent.push(...result.effects.messages);
      this.events.push(...result.effects.events);
      this.tasks.push(...result.effects.tasks);
      this.replies.push(...result.effects.replies);
    }
    return result;
  }
}
