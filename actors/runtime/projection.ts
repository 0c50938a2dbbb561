import type { DescMessage, MessageShape } from "@bufbuild/protobuf";

/** An event as a projection gets it. */
export interface EventMeta {
  readonly tenant: string;
  /** Kind and key of the actor that emitted it. */
  readonly kind: string;
  readonly key: string;
  readonly atMs: number;
}

/** What a projection's handler sees: the records that it named, to read and to change. */
export interface ProjectionContext<S extends DescMessage> {
  readonly nowMs: number;
  /** The record with this key; unset fields when new. @throws DefectError if the handler did not name it. */
  record(key: string): MessageShape<S>;
  /** Removes the record. */
  remove(key: string): void;
}

/** One kind of event that a projection follows. */
export interface ProjectionHandler<S extends DescMessage = DescMessage, E extends DescMessage = DescMessage> {
  readonly event: E;
  /** Keys of all records that `apply` may touch, known from the event alone. */
  readonly keys: (event: MessageShape<E>, meta: EventMeta) => readonly string[];
  readonly apply: (ctx: ProjectionContext<S>, event: MessageShape<E>, meta: EventMeta) => void;
}

/** A kind whose records are computed from events, once each, in the order of their actors. */
export interface ProjectionDefinition {
  readonly kind: string;
  readonly state: DescMessage;
  readonly handlers: readonly ProjectionHandler[];
}

/** Types one handler against its event and its state. */
export function on<S extends DescMessage, E extends DescMessage>(
  _state: S,
  event: E,
  keys: ProjectionHandler<S, E>["keys"],
  apply: ProjectionHandler<S, E>["apply"],
): ProjectionHandler {
  return { event, keys, apply } as unknown as ProjectionHandler;
}

/** Declares a projection: many small keyed records of one state message per tenant. */
export function defineProjection(
  kind: string,
  state: DescMessage,
  handlers: readonly ProjectionHandler[],
): ProjectionDefinition {
  return { kind, state, handlers };
}
