import type { Clock } from "../../../platform/clock.ts";
import { BusError, type Bus } from "../bus/bus.ts";
import { LIMITS } from "../limits.ts";
import type { Input } from "./inputs.ts";
import type { CommitOutcome } from "./journal.ts";

/** What a stored commit takes beside its data, at most: its subject, its headers, and what the server adds. */
const OVERHEAD_BYTES = 256;
/** Part of the journal: a smaller fall of its pressure is no purge, for what is stored is counted too large first. */
const FALL_MIN = 0.02;

/** What the room that is left in the journal allows. */
export type Allowed = "all" | "drain" | "positions";
/** What a commit brings that may wait for room: what other logs have sent, or anything. Positions do not wait. */
export type Brings = "drain" | "commands";

/** What is carried has been begun: nothing else of its log goes on before it. */
export function bringsOf(inputs: readonly Input[]): Brings {
  return inputs.every(({ source }) => source === "log" || source === "carry") ? "drain" : "commands";
}

/**
 * How full the journal is, as one worker sees it: what the server said last, and what the worker has stored since
 * (J24). The last per cents are kept for commits that let it be purged: where nothing of them is left, an idle log
 * cannot write down what it has read, and no space ever comes free.
 */
export class JournalRoom {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #stream: string;
  #bytes = 0;
  #bytesMax = Infinity;
  /** Stored by this worker since it asked last. */
  #storedSince = 0;
  /** On the way to the server. */
  #sent = 0;
  /** A commit was refused since the server was asked last. */
  #isRefused = false;
  /** A commit of commands found no room: down to this pressure they wait, and drains go on. */
  #commandsWaitFrom = Infinity;
  #isAsking = false;
  #askedMs = -Infinity;

  constructor(bus: Bus, clock: Clock, stream: string) {
    this.#bus = bus;
    this.#clock = clock;
    this.#stream = stream;
  }

  /** From 0 to 1; 0 without a limit. */
  get pressure(): number {
    return this.#bytes / this.#bytesMax;
  }

  /** Space runs out: what is idle must not hold the purge up. */
  get isShort(): boolean {
    return this.#isRefused || this.pressure >= LIMITS.logPurgeAt;
  }

  get allowed(): Allowed {
    if (this.#isRefused || this.pressure >= LIMITS.logPositionsOnlyAt) return "positions";
    return this.pressure >= Math.min(LIMITS.logDrainsOnlyAt, this.#commandsWaitFrom) ? "drain" : "all";
  }

  /** False: a commit of that size would take what is kept for others, of commands for drains, of both for positions. */
  fits(bytes: number, brings: Brings): boolean {
    const part = brings === "drain" ? LIMITS.logPositionsOnlyAt : LIMITS.logDrainsOnlyAt;
    return this.#bytes + this.#sent + bytes + OVERHEAD_BYTES <= this.#bytesMax * part;
  }

  /** Counts a commit from when it is sent on: those of other logs must not take the same room. */
  async storing(bytes: number, append: Promise<CommitOutcome>): Promise<CommitOutcome> {
    const taken = bytes + OVERHEAD_BYTES;
    this.#sent += taken;
    try {
      const outcome = await append;
      if (outcome.kind === "committed") {
        this.#bytes += taken;
        this.#storedSince += taken;
      }
      return outcome;
    } finally {
      this.#sent -= taken;
    }
  }

  /** A commit did not fit: until the server has been asked again, or a purge made room, only smaller ones are tried. */
  refused(brings?: Brings): void {
    const waitFrom = this.pressure - FALL_MIN;
    // Below it nothing is purged for want of room: there is nothing to wait for.
    const mayWait = brings === "commands" && waitFrom >= LIMITS.logPurgeAt;
    if (mayWait) this.#commandsWaitFrom = Math.min(this.#commandsWaitFrom, waitFrom);
    else this.#isRefused = true;
  }

  /** Asks the server, where it is time to: at each call while the room may run out. Never throws. */
  async look(): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const everyMs = this.#bytesMax === Infinity && !this.#isRefused ? LIMITS.purgeEveryMs : 0;
    if (this.#isAsking || nowMs - this.#askedMs < everyMs) return;
    this.#isAsking = true;
    this.#askedMs = nowMs;
    this.#storedSince = 0;
    try {
      const { bytes, bytesMax } = await this.#bus.status(this.#stream);
      this.#bytes = bytes + this.#storedSince; // which of them were counted is not known: rather too many
      this.#bytesMax = bytesMax;
      this.#isRefused = false;
      if (this.pressure < this.#commandsWaitFrom) this.#commandsWaitFrom = Infinity;
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
    } finally {
      this.#isAsking = false;
    }
  }
}
