import type { Clock } from "../../../platform/clock.ts";

/** Bundles of one log that are told apart; above it the newest count as being as old as the one before them. */
const BUNDLES_MAX = 1_024;

interface Lane {
  /** Stored and not taken, in order. */
  sent: { sequence: number; readonly sinceMs: number }[];
  takenSequence: number;
  /** Monotonic; when its owner last took something. */
  movedMs: number;
}

/**
 * How long what this process has stored in the inboxes waits there to be applied. Owners say with their replies how far
 * they have come, so it holds whatever lies in between: the server's queues, the owner's sockets, its own queue.
 */
export class InboxDelay {
  readonly #clock: Clock;
  readonly #lanes = new Map<string, Lane>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param sinceMs monotonic; since when the oldest entry of the bundle waits */
  stored(group: string, log: number, sequence: number, sinceMs: number): void {
    const lane = this.#lane(group, log);
    const last = lane.sent.at(-1);
    if (sequence <= lane.takenSequence) return;
    if (last !== undefined && lane.sent.length >= BUNDLES_MAX)
      last.sequence = Math.max(last.sequence, sequence);
    else lane.sent.push({ sequence, sinceMs });
  }

  /** The owner has taken everything up to here. */
  taken(group: string, log: number, sequence: number): void {
    const lane = this.#lane(group, log);
    if (sequence <= lane.takenSequence) return;
    lane.takenSequence = sequence;
    lane.movedMs = this.#clock.monotonicMs();
    const first = lane.sent.findIndex((bundle) => bundle.sequence > sequence);
    lane.sent.splice(0, first < 0 ? lane.sent.length : first);
  }

  /** Age of the oldest entry that waits, 0 if none does; and how long ago the owner last took something. */
  of(group: string, log: number): { readonly ageMs: number; readonly silentMs: number } {
    const lane = this.#lanes.get(`${group}.${log}`);
    if (lane === undefined) return { ageMs: 0, silentMs: Infinity };
    const nowMs = this.#clock.monotonicMs();
    return { ageMs: nowMs - (lane.sent[0]?.sinceMs ?? nowMs), silentMs: nowMs - lane.movedMs };
  }

  #lane(group: string, log: number): Lane {
    const name = `${group}.${log}`;
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = { sent: [], takenSequence: 0, movedMs: -Infinity };
      this.#lanes.set(name, lane);
    }
    return lane;
  }
}
