import { BusError } from "./bus.ts";
import { status } from "./queries-jetstream.ts";
import type { Requests } from "./requests-jetstream.ts";

/** An answer is good for so long: readers ask with their heartbeats, and all readers of a stream share it. */
const ASK_EVERY_MS = 2_000;

/** How far a stream went at some time. */
export interface StreamEnd {
  readonly sequence: number;
  /** Monotonic; the leader has said so by then. */
  readonly atMs: number;
}

/** Where streams end, as their leaders say. */
export class StreamEnds {
  readonly #requests: Requests;
  readonly #ends = new Map<string, StreamEnd>();
  readonly #asking = new Set<string>();

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /** The newest answer of the stream's leader, however old; where it is, another one is asked for. */
  of(stream: string): StreamEnd | undefined {
    const end = this.#ends.get(stream);
    const ageMs = this.#requests.clock.monotonicMs() - (end?.atMs ?? -Infinity);
    if (ageMs >= ASK_EVERY_MS && !this.#asking.has(stream)) void this.#ask(stream);
    return end;
  }

  async #ask(stream: string): Promise<void> {
    this.#asking.add(stream);
    try {
      const { lastSequence: sequence } = await status(this.#requests, stream);
      this.#ends.set(stream, { sequence, atMs: this.#requests.clock.monotonicMs() });
    } catch (error) {
      if (!(error instanceof BusError)) throw error; // the next heartbeat asks again
    } finally {
      this.#asking.delete(stream);
    }
  }
}
