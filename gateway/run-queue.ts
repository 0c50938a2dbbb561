import type { Clock } from "../platform/clock.ts";

/** Calls that are begun in one turn of the event loop. */
const CALLS_PER_TURN_MAX = 64;
/**
 * So few are begun within some turns, and none is refused for them: where they have waited for long, it was for this
 * process to run at all, and who is sent away would wait longer. Callers that wait for their answers come all at once
 * when a commit has answered them all; a queue that grows is longer than this before its oldest has waited too long.
 */
const SHORT_QUEUE_CALLS = 4 * CALLS_PER_TURN_MAX;

interface Waiting {
  readonly begin: () => void;
  readonly isOver: () => boolean;
  /** Monotonic. */
  readonly sinceMs: number;
}

/**
 * Begins calls in the order of their arrival, a few in each turn of the event loop. All that lies in the sockets is
 * read in one turn; begun there and then, a spike would make one turn so long that nothing else is heard meanwhile, new
 * connections least of all, and how long callers have waited could be seen nowhere.
 */
export class RunQueue {
  readonly #clock: Clock;
  readonly #waitMsMax: number;
  #waiting: Waiting[] = [];
  #head = 0;
  /** Calls begun in this turn; undefined between turns in which any are. */
  #begun: number | undefined;

  /** @param waitMsMax in a queue that is not short no call is made to wait behind one that waits for longer */
  constructor(clock: Clock, waitMsMax: number) {
    this.#clock = clock;
    this.#waitMsMax = waitMsMax;
  }

  /** How long the oldest call that is not begun waits, if that is too long: then who comes should be turned away. */
  get behindMs(): number {
    const oldest = this.#waiting[this.#head];
    if (oldest === undefined || this.#waiting.length - this.#head <= SHORT_QUEUE_CALLS) return 0;
    const waitMs = this.#clock.monotonicMs() - oldest.sinceMs;
    return waitMs > this.#waitMsMax ? waitMs : 0;
  }

  /**
   * Begins it now, or in its turn. While the queue is behind, at once: it is about to be turned away.
   * @param isOver asked when its turn comes: true if there is nothing left to begin, then another one has this turn
   */
  run(begin: () => void, isOver: () => boolean): void {
    if (this.#begun === undefined) {
      this.#begun = 0;
      setImmediate(this.#onTurn);
    }
    const isFirst = this.#head === this.#waiting.length;
    if (isFirst && this.#begun < CALLS_PER_TURN_MAX) {
      this.#begun++;
      begin();
    } else if (this.behindMs > 0) begin();
    else this.#waiting.push({ begin, isOver, sinceMs: this.#clock.monotonicMs() });
  }

  readonly #onTurn = () => {
    this.#begun = 0;
    while (this.#begun < CALLS_PER_TURN_MAX) {
      const next = this.#waiting[this.#head];
      if (next === undefined) break;
      this.#head++;
      if (next.isOver()) continue;
      this.#begun++;
      next.begin();
    }
    if (this.#head > this.#waiting.length / 2) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    if (this.#begun === 0) this.#begun = undefined;
    else setImmediate(this.#onTurn);
  };
}
