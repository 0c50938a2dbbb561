import { TryingSchema, type Trying } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { StreamNames } from "./draft.ts";
import type { Input, InputSource, Taken } from "./inputs.ts";
import { LIMITS } from "../limits.ts";
import { create } from "../codec/create.ts";

/** Names the first entry of a carry list. */
const CARRIED = { source: "carry", sequence: 0, index: 0 } as const;

/**
 * What an owner knows of a crash loop (J12). After some takeovers in a row it is careful: one input a commit, each
 * announced before it is applied, so that the next owner knows which one killed it. A takeover counts until its owner
 * has taken all that waited when it began: messages of other logs may come in front of the input that kills it, so
 * that every owner commits something first.
 */
export class CrashGuard {
  readonly #streams: StreamNames;
  readonly #owner: string;
  /** The input that the last owner announced and did not survive. */
  #poison: Trying | undefined;
  #isMet = false;
  #carefulLeft: number;
  #announced = "";
  #takeovers: number;
  /** Newest message of each input when its reader had brought all that waited. */
  readonly #waiting = new Map<InputSource, number>();

  /** @param owner this life of the worker */
  constructor(owner: string, streams: StreamNames, takeovers: number, poison: Trying | undefined) {
    this.#owner = owner;
    this.#streams = streams;
    this.#takeovers = takeovers;
    this.#poison = poison;
    this.#carefulLeft = takeovers >= LIMITS.crashLoopTakeoversMin ? LIMITS.carefulCommitsMax : 0;
  }

  get isCareful(): boolean {
    return this.#carefulLeft > 0;
  }

  /** In a row, as the log has it; this owner's counts until it is known to survive. */
  get takeovers(): number {
    return this.#takeovers;
  }

  /** The reader of an input has brought all that waited, up to this sequence. */
  caughtUp(source: InputSource, sequence: number): void {
    if (!this.#waiting.has(source)) this.#waiting.set(source, sequence);
  }

  /** Takeovers in a row that a commit with these positions tells. */
  takeoversAt(positions: ReadonlyMap<InputSource, Taken>): number {
    if (this.#takeovers === 0) return 0;
    const hasTaken = (source: InputSource) => {
      const waited = this.#waiting.get(source);
      const { sequence = 0, whole = true } = positions.get(source) ?? {};
      return waited !== undefined && (sequence > waited || (sequence === waited && whole));
    };
    return [...this.#streams.keys()].every(hasTaken) ? 0 : this.#takeovers;
  }

  /** Counts a commit; the loop is over when nothing waits any more. */
  committed(positions: ReadonlyMap<InputSource, Taken>, isIdle: boolean): void {
    if (this.#isMet) this.#poison = undefined;
    this.#takeovers = this.takeoversAt(positions);
    this.#carefulLeft = isIdle && this.#takeovers === 0 ? 0 : Math.max(0, this.#carefulLeft - 1);
  }

  /** True for the input that is to go to the dead letters unapplied, until a commit has sent it there. */
  meetsPoison(source: InputSource, sequence: number, index: number): boolean {
    const isPoison = this.#isPoison(this.#name({ source, sequence, index }));
    this.#isMet ||= isPoison;
    return isPoison;
  }

  /** What must be announced before the next input is applied; undefined if it has been, or will not be applied. */
  announcement(next: Input | undefined, lastSequence: number): Trying | undefined {
    const trying = this.#name(next ?? CARRIED);
    return this.#announced === key(trying, lastSequence) || this.#isPoison(trying) ? undefined : trying;
  }

  announced(trying: Trying, lastSequence: number): void {
    this.#announced = key(trying, lastSequence);
  }

  #name({ source, sequence, index }: Pick<Input, "source" | "sequence" | "index">): Trying {
    const stream = this.#streams.get(source)?.name ?? source;
    return create(TryingSchema, { stream, sequence: BigInt(sequence), entry: index, owner: this.#owner });
  }

  #isPoison({ stream, sequence, entry }: Trying): boolean {
    const poison = this.#poison;
    return poison?.stream === stream && poison.sequence === sequence && poison.entry === entry;
  }
}

/** An announcement holds until the next message on the log. */
function key({ stream, sequence, entry }: Trying, lastSequence: number): string {
  return `${stream}/${sequence}/${entry}/${lastSequence}`;
}
