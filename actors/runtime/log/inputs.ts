import type { Message } from "@bufbuild/protobuf";
import type { Entry, Position } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { EventMeta, ProjectionHandler } from "../projection.ts";
import type { RecordRef } from "./record-store.ts";

/**
 * Where inputs come from. `carry` is the list that the last commit left, `task` an outcome of a task that this process
 * worked on; both are in no stream and have no position.
 */
export type InputSource = "inbox" | "log" | "events" | "carry" | "task";

/** What an input asks for. */
export type InputBody =
  | { readonly case: "entry"; readonly entry: Entry }
  | {
      readonly case: "event";
      readonly type: string;
      readonly json: string;
      readonly meta: EventMeta;
      /** The event as the handlers asked for it so far. */
      readonly decoded: Map<ProjectionHandler, Message | undefined>;
    }
  | { readonly case: "undecodable"; readonly raw: Uint8Array; readonly error: string };

/** One entry of one message. */
export interface Input {
  readonly source: InputSource;
  readonly sequence: number;
  /** Place of the entry in its message, and whether it is the last one for this log. */
  readonly index: number;
  readonly isLast: boolean;
  /** Stored time of the message. */
  readonly atMs: number;
  /** Monotonic time of arrival. */
  readonly arrivedMs: number;
  readonly body: InputBody;
  /** Records that it will touch; set when they are first asked for. */
  refs?: readonly RecordRef[];
}

/** How far one stream has been taken (J1). */
export interface Taken {
  readonly sequence: number;
  readonly taken: number;
  readonly whole: boolean;
}

const NOTHING: Taken = { sequence: 0, taken: 0, whole: true };

/** Reads a stored position. */
export function takenOf(position: Position | undefined): Taken {
  if (position === undefined) return NOTHING;
  return { sequence: Number(position.sequence), taken: position.taken, whole: position.whole };
}

/** First sequence to read from a position. */
export function nextSequence({ sequence, whole }: Taken): number {
  return whole ? sequence + 1 : sequence;
}

/**
 * Inputs that have arrived and are not taken, in order of arrival, and the positions of their streams. Messages without
 * an entry for this log move the position as soon as everything before them is taken.
 */
export class InputQueue {
  #inputs: Input[] = [];
  #head = 0;
  readonly #taken = new Map<InputSource, Taken>();
  /** Newest message seen per stream. */
  readonly #seen = new Map<InputSource, number>();
  readonly #waiting = new Map<InputSource, number>();
  /** While set, inputs of other sources wait (J24). */
  only: InputSource | undefined;

  constructor(positions: ReadonlyMap<InputSource, Taken>) {
    for (const [source, taken] of positions) {
      this.#taken.set(source, taken);
      this.#seen.set(source, nextSequence(taken) - 1);
    }
  }

  get length(): number {
    return this.#inputs.length - this.#head;
  }

  /** Inputs of a source that wait. */
  waiting(source: InputSource): number {
    return this.#waiting.get(source) ?? 0;
  }

  /** Arrival of the oldest waiting input. */
  get oldestArrivedMs(): number | undefined {
    return this.#inputs[this.#head]?.arrivedMs;
  }

  /** False for a message that was seen before: it must not be pushed again. */
  see(source: InputSource, sequence: number): boolean {
    const seen = this.#seen.get(source) ?? 0;
    if (sequence <= seen) return false;
    // What was passed while nothing waited stays passed: a position that was committed must not fall back behind it.
    const isIdle = this.waiting(source) === 0;
    if (isIdle && seen > (this.#taken.get(source)?.sequence ?? 0))
      this.#taken.set(source, { sequence: seen, taken: 0, whole: true });
    this.#seen.set(source, sequence);
    return true;
  }

  seen(source: InputSource): number {
    return this.#seen.get(source) ?? 0;
  }

  /** Adds an input unless its position says that it was taken. */
  push(input: Input): void {
    const taken = this.#taken.get(input.source);
    if (taken !== undefined && input.sequence === taken.sequence && input.index < taken.taken) return;
    this.#inputs.push(input);
    this.#waiting.set(input.source, this.waiting(input.source) + 1);
  }

  peek(): Input | undefined {
    return this.#inputs[this.#next()];
  }

  take(): Input | undefined {
    const next = this.#next();
    const input = this.#inputs[next];
    if (input === undefined) return undefined;
    if (next === this.#head) this.#head++;
    else this.#inputs.splice(next, 1);
    if (this.#head > 1_024 && this.#head * 2 > this.#inputs.length) {
      this.#inputs = this.#inputs.slice(this.#head);
      this.#head = 0;
    }
    this.#waiting.set(input.source, this.waiting(input.source) - 1);
    const { source, sequence, index, isLast } = input;
    if (source !== "task") this.#taken.set(source, { sequence, taken: index + 1, whole: isLast });
    return input;
  }

  /** Place of the input that comes next; of none, -1 or the end. */
  #next(): number {
    const { only } = this;
    if (only === undefined) return this.#head;
    return this.#inputs.findIndex(({ source }, index) => index >= this.#head && source === only);
  }

  /** Puts taken inputs back in front: the commit that took them was refused. */
  putBack(inputs: readonly Input[], positions: ReadonlyMap<InputSource, Taken>): void {
    this.#inputs = [...inputs, ...this.#inputs.slice(this.#head)];
    this.#head = 0;
    for (const { source } of inputs) this.#waiting.set(source, this.waiting(source) + 1);
    for (const [source, taken] of positions) this.#taken.set(source, taken);
  }

  /** Everything of a source up to here is taken. */
  takenThrough(source: InputSource): number {
    const taken = this.positions().get(source);
    return taken === undefined ? 0 : nextSequence(taken) - 1;
  }

  /** Positions now: behind what was taken, or behind all that was seen where nothing waits. */
  positions(): ReadonlyMap<InputSource, Taken> {
    const positions = new Map<InputSource, Taken>();
    for (const [source, taken] of this.#taken) {
      const seen = this.#seen.get(source) ?? 0;
      const isIdle = this.waiting(source) === 0;
      const moved = isIdle && seen > taken.sequence;
      positions.set(source, moved ? { sequence: seen, taken: 0, whole: true } : taken);
    }
    return positions;
  }
}
