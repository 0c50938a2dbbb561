import type { Message } from "@bufbuild/protobuf";
import { EntrySchema, type Entry } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { ActorDefinition } from "../actor.ts";
import { addressed, elsewhere, isOfList } from "./address.ts";
import type { Draft } from "./draft.ts";
import type { Input, InputQueue, InputSource } from "./inputs.ts";
import { LIMITS } from "../limits.ts";
import { appendToList, trimIds, trimList } from "./lists.ts";
import type { ProjectionDefinition, ProjectionHandler } from "../projection.ts";
import { ProjectionStep } from "./projection-step.ts";
import { MemoryRecord } from "../step/record.ts";
import { refOf, type RecordId, type RecordRef, type RecordStore } from "./record-store.ts";
import { applyEntry } from "../step/step.ts";
import { rememberCrash } from "../step/step-request.ts";
import { type DeadReason, type StepEnv } from "../step/step-run.ts";
import { LIST_KIND, TRIM_KIND, type Effects } from "../step/step-context.ts";
import type { Topology } from "../topology.ts";
import { create } from "../codec/create.ts";
import { decodeJson } from "../codec/json.ts";

/** What an applier needs. */
export interface ApplierOptions {
  readonly topology: Topology;
  readonly group: string;
  readonly log: number;
  /** Sets ids apart from those of another life of the streams. */
  readonly incarnation: string;
  readonly actors: ReadonlyMap<string, ActorDefinition>;
  readonly projections: readonly ProjectionDefinition[];
  readonly store: RecordStore;
  /** The input that its owners announced and did not survive (J12): it goes to the dead letters unapplied. */
  readonly isPoison: (source: InputSource, sequence: number, index: number) => boolean;
  /** True if another build is live in the group. */
  readonly hasOtherBuild: () => boolean;
  /** Asked when a kind or rpc is unknown: true if another live build knows it, so that the log is released. */
  readonly isLeftToOthers: (kind: string, method: string) => boolean;
}

/** How one call of {@link Applier.fill} ended. */
export type Filled = "all" | "full" | "cold" | "release";

type Follower = { readonly projection: ProjectionDefinition; readonly handler: ProjectionHandler };
type EventBody = Extract<Input["body"], { case: "event" }>;

const NOBODY: readonly Follower[] = [];

const CRASHED = "its owners died applying it";

const LETTER: Readonly<Record<InputSource, string>> = {
  inbox: "i",
  log: "l",
  events: "e",
  carry: "c",
  task: "t",
};

/** Applies inputs in memory until a limit, a record that is not there, or the end of what has arrived. */
export class Applier {
  readonly #options: ApplierOptions;
  readonly #prefix: string;
  #refused: string | undefined;
  /** True: each step can be undone alone. False: one that fails behind another on its record ends the run. */
  isCareful = false;
  readonly #handlersByType = new Map<string, Follower[]>();

  constructor(options: ApplierOptions) {
    this.#options = options;
    this.#prefix = `${options.group}${options.log}-${options.incarnation}-`;
    for (const projection of options.projections) {
      for (const handler of projection.handlers) {
        const list = this.#handlersByType.get(handler.event.typeName) ?? [];
        list.push({ projection, handler });
        this.#handlersByType.set(handler.event.typeName, list);
      }
    }
  }

  /** Records that an input will touch; undefined for one that touches none. */
  refsOf(input: Input): readonly RecordRef[] {
    input.refs ??= this.#refsOf(input);
    return input.refs;
  }

  #refsOf({ body }: Input): readonly RecordRef[] {
    if (body.case === "entry") {
      const { entry } = body;
      const { log } = this.#options;
      if (entry.kind === TRIM_KIND) return trimIds(entry, log).map(refOf);
      return entry.fresh ? [] : [refOf(addressed(entry, log))];
    }
    if (body.case === "undecodable") return [];
    const refs: RecordRef[] = [];
    const { tenant } = body.meta;
    for (const { projection, handler } of this.#handlersOf(body.type)) {
      const event = eventOf(body, handler);
      if (event === undefined) continue;
      const { kind } = projection;
      for (const key of handler.keys(event, body.meta)) refs.push({ kind, tenant, key, record: undefined });
    }
    return refs;
  }

  /**
   * Applies the carried entries, then inputs, at most `entriesMax`. What does not fit is carried (same-log messages) or
   * stays in the queue.
   * @throws NotUndoableError in a run that is not careful: roll the draft back and fill again carefully
   */
  fill(draft: Draft, carry: readonly Entry[], queue: InputQueue, entriesMax: number): Filled {
    if (carry.some((entry) => this.#mustRelease(entry))) return "release";
    // Messages within the log, those that have been applied included.
    const local = this.#withoutRefused(draft, carry);
    const carried = this.#drain(draft, local, 0);
    if (carried !== "all") return carried;
    while (draft.taken.length < entriesMax) {
      if (draft.isFull()) return "full";
      const input = queue.peek();
      if (input === undefined) return "all";
      if (!this.#isLoaded(this.refsOf(input))) return "cold";
      if (input.body.case === "entry" && this.#mustRelease(input.body.entry)) return "release";
      queue.take();
      draft.taken.push(input);
      const applied = local.length;
      this.#applyInput(draft, input, local);
      const drained = this.#drain(draft, local, applied);
      if (drained !== "all") return drained;
    }
    return "full";
  }

  /** The next input is too large to commit: it goes to the dead letters unapplied. */
  refuseNext(why: string): void {
    this.#refused = `${why}; what one message does must fit one commit`;
  }

  #isLoaded(refs: readonly RecordRef[]): boolean {
    let isLoaded = true;
    for (const ref of refs) {
      if (this.#options.store.find(ref) !== undefined) continue;
      this.#options.store.want(ref);
      isLoaded = false;
    }
    return isLoaded;
  }

  #mustRelease(entry: Entry): boolean {
    if (isOfList(entry)) return false;
    const { actors, isLeftToOthers } = this.#options;
    const definition = actors.get(entry.kind);
    const method = entry.method === "" ? this.#methodOf(entry) : entry.method;
    const isKnown = definition !== undefined && (method === "" || definition.handlers.has(method));
    return !isKnown && isLeftToOthers(entry.kind, method);
  }

  /** Firings and outcomes do not say whom they call: the record does. Looked at only while builds differ. */
  #methodOf({ kind, tenant, key, source }: Entry): string {
    if (!this.#options.hasOtherBuild()) return "";
    const meta = this.#options.store.get({ kind, tenant, key })?.committedMeta();
    const { case: from, value } = source;
    const timer = from === "firing" ? meta?.timers.find(({ arm }) => arm === value.arm) : undefined;
    const task = from === "outcome" ? meta?.tasks.find(({ id }) => id === value.task) : undefined;
    return timer?.method ?? task?.method ?? "";
  }

  #remember(draft: Draft, entry: Entry, env: StepEnv): void {
    const definition = this.#options.actors.get(entry.kind);
    if (entry.source.case !== "request" || definition === undefined) return;
    const record = this.#options.store.get(entry);
    if (record === undefined) return;
    rememberCrash(record, definition, entry.source.value, env);
    draft.change(record);
  }

  #withoutRefused(draft: Draft, carry: readonly Entry[]): Entry[] {
    const [first, ...rest] = carry;
    if (first === undefined) return [];
    const atMs = Number(first.atMs);
    if (this.#refused !== undefined) this.#kill(draft, first.origin, atMs, "TOO_LARGE", this.#refused, first);
    else if (this.#options.isPoison("carry", 0, 0))
      this.#kill(draft, first.origin, atMs, "CRASH_LOOP", CRASHED, first);
    else return [...carry];
    this.#refused = undefined;
    draft.steps++; // a careful commit ends here: what comes next has not been announced
    return rest;
  }

  /** Applies messages within the log from one on, first come first served; the rest is carried (J8). */
  #drain(draft: Draft, local: Entry[], first: number): Filled {
    const { store, log } = this.#options;
    for (let next = first; next < local.length; next++) {
      const entry = local[next] as Entry;
      const id = addressed(entry, log);
      const record = store.get(id);
      const isCold = record === undefined && !entry.fresh;
      if (isCold || draft.isFull()) {
        draft.carry = local.slice(next);
        for (const waiting of draft.carry) if (!waiting.fresh) store.want(addressed(waiting, log));
        return isCold ? "cold" : "full";
      }
      const env = { atMs: Number(entry.atMs), origin: entry.origin };
      this.#applyOne(draft, entry, env, record ?? id, local);
    }
    return "all";
  }

  /** Adds the messages for this log that it caused to `local`, as the other steps do. */
  #applyInput(draft: Draft, input: Input, local: Entry[]): void {
    const { body, sequence, index, source, atMs } = input;
    const origin = `${this.#prefix}${LETTER[source]}${sequence.toString(36)}-${index.toString(36)}`;
    if (body.case === "undecodable") {
      this.#kill(draft, origin, atMs, "UNDECODABLE", body.error, undefined, body.raw);
      return;
    }
    if (this.#refused !== undefined) {
      const [entry, raw] = body.case === "entry" ? [body.entry] : [undefined, Buffer.from(body.json)];
      this.#kill(draft, origin, atMs, "TOO_LARGE", this.#refused, entry, raw);
      this.#refused = undefined;
      return;
    }
    if (body.case === "event") {
      this.#applyEvent(draft, input, body, origin);
      return;
    }
    if (this.#options.isPoison(source, sequence, index)) {
      this.#remember(draft, body.entry, { atMs, origin });
      this.#kill(draft, origin, atMs, "CRASH_LOOP", CRASHED, body.entry);
      return;
    }
    const why = source === "inbox" ? elsewhere(this.#options, body.entry) : undefined;
    if (why !== undefined) {
      this.#kill(draft, origin, atMs, "WRONG_LOG", why, body.entry);
      return;
    }
    const { store, log } = this.#options;
    const ref = input.refs?.[0];
    const id = ref ?? addressed(body.entry, log);
    const record = ref === undefined ? store.get(id) : store.find(ref);
    this.#applyOne(draft, body.entry, { atMs, origin }, record ?? id, local);
  }

  /** One step, on the record or where there is none yet. */
  #applyOne(draft: Draft, entry: Entry, env: StepEnv, on: MemoryRecord | RecordId, local: Entry[]): void {
    draft.steps++;
    if (entry.depth > LIMITS.causalDepthMax) {
      const why = `a chain of more than ${LIMITS.causalDepthMax} messages`;
      this.#kill(draft, env.origin, env.atMs, "TOO_DEEP", why, entry);
      return;
    }
    if (isOfList(entry)) {
      const apply = entry.kind === TRIM_KIND ? trimList : appendToList;
      for (const record of apply(this.#options.store, this.#options.log, entry)) draft.change(record);
      return;
    }
    const definition = this.#options.actors.get(entry.kind);
    if (definition === undefined) {
      this.#kill(draft, env.origin, env.atMs, "UNKNOWN_KIND", `there is no kind ${entry.kind}`, entry);
      return;
    }
    const record = on instanceof MemoryRecord ? on : this.#options.store.add(on);
    const result = applyEntry(definition, record, entry, env, this.isCareful);
    if (result.kind === "applied" || (result.kind === "failed" && result.changed)) draft.change(record);
    else record.rest(); // a timer that has nothing to do any more must not leave its record decoded
    if (result.kind === "failed") {
      this.#kill(draft, env.origin, env.atMs, result.reason, result.error, result.entry);
    } else if (result.kind !== "dropped") {
      this.#route(draft, result.effects, local);
    }
  }

  /** Effects into the draft, messages for this log into `local`. */
  #route(draft: Draft, effects: Effects, local: Entry[]): void {
    draft.add(effects);
    const { topology, group, log } = this.#options;
    for (const message of effects.messages) {
      const targetGroup = message.kind === LIST_KIND ? group : topology.groupOf(message.kind);
      const target =
        message.kind === LIST_KIND ? log : topology.logOf(targetGroup, message.tenant, message.key);
      if (targetGroup === group && target === log) local.push(message);
      else draft.send(targetGroup, target, message);
    }
  }

  #handlersOf(type: string) {
    return this.#handlersByType.get(type) ?? NOBODY;
  }

  #applyEvent(draft: Draft, input: Input, body: EventBody, origin: string): void {
    for (const follower of this.#handlersOf(body.type)) {
      const event = eventOf(body, follower.handler);
      if (event === undefined) {
        this.#kill(
          draft,
          origin,
          input.atMs,
          "UNDECODABLE",
          `an event is no ${body.type}`,
          undefined,
          Buffer.from(body.json),
        );
        continue;
      }
      draft.steps++;
      this.#project(draft, follower, event, input, body, origin);
    }
  }

  #project(
    draft: Draft,
    { projection, handler }: Follower,
    event: Message,
    input: Input,
    { meta, json }: EventBody,
    origin: string,
  ): void {
    const { store } = this.#options;
    const step = new ProjectionStep(projection, this.refsOf(input), store, input.atMs, this.isCareful);
    try {
      handler.apply(step as never, event, meta);
    } catch (error) {
      step.undo();
      const text = error instanceof Error ? error.message : String(error);
      this.#kill(draft, origin, input.atMs, "HANDLER_FAILED", text, undefined, Buffer.from(json));
      return;
    }
    step.end(draft);
  }

  #kill(
    draft: Draft,
    origin: string,
    atMs: number,
    reason: DeadReason,
    error: string,
    entry: Entry | undefined,
    raw?: Uint8Array,
  ) {
    const id = `${origin}-d`;
    const kept = entry === undefined ? {} : { entry: create(EntrySchema, { ...entry, origin }) };
    const from = `${this.#options.group}.${this.#options.log}`;
    draft.deadLetter({
      id,
      reason,
      error: error.slice(0, 1_000),
      raw: raw?.subarray(0, LIMITS.commitBytesMax) ?? new Uint8Array(0),
      atMs: BigInt(atMs),
      from,
      ...kept,
    });
    if (entry?.source.case === "request") {
      const result = { case: "deadLetter" as const, value: id };
      draft.replies.push({ request: entry.source.value, result, replayed: false });
    }
  }
}

/** Undefined if the text is no such event. Decoded once, though its keys are asked for before it is applied. */
function eventOf({ decoded, json }: EventBody, handler: ProjectionHandler): Message | undefined {
  if (decoded.has(handler)) return decoded.get(handler);
  let event: Message | undefined;
  try {
    event = decodeJson(handler.event, json);
  } catch {
    event = undefined;
  }
  decoded.set(handler, event);
  return event;
}
