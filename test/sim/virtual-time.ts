import type { Clock, TimerHandle } from "../../platform/clock.ts";
import type { Random } from "../../platform/random.ts";

/** Where every schedule's clock starts. */
export const START_MS = 1_700_000_000_000;
/** What a flush may make ready at once; more is a loop that never lets time pass. */
const IMMEDIATES_MAX = 100_000;

class Entry implements TimerHandle {
  readonly atMs: number;
  /** Decides among timers of the same millisecond. */
  readonly tie: number;
  /** Undefined once it is cancelled. */
  run: (() => void) | undefined;

  constructor(atMs: number, tie: number, run: () => void) {
    this.atMs = atMs;
    this.tie = tie;
    this.run = run;
  }

  cancel(): void {
    this.run = undefined;
  }
}

/** Runs what promises have made ready, and only that: a tenth of a microsecond where a macrotask takes several. */
const flushMicrotasks = (process as unknown as { _tickCallback(): void })._tickCallback.bind(process);

/**
 * Time that jumps from timer to timer. Timers of one millisecond fire in an order that the seed decides; everything
 * that one of them causes without waiting is done before the next. Runs within one turn of the event loop.
 */
export class VirtualTime {
  readonly #random: Random;
  readonly #heap: Entry[] = [];
  #immediates: (() => void)[] = [];
  #nowMs = 0;
  steps = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Since the start. */
  get nowMs(): number {
    return this.#nowMs;
  }

  setTimer(run: () => void, delayMs: number): TimerHandle {
    const entry = new Entry(this.#nowMs + Math.max(0, delayMs), this.#random.float(), run);
    this.#push(entry);
    return entry;
  }

  /** The server's clock: neither skewed nor ever held up. */
  clock(): Clock {
    return {
      nowMs: () => START_MS + this.#nowMs,
      monotonicMs: () => this.#nowMs,
      setTimer: (run, delayMs) => this.setTimer(run, delayMs),
    };
  }

  /** Call in a macrotask: microtasks cannot be flushed from within one. Stops early when `isOver` says so. */
  run(untilMs: number, isOver: () => boolean): void {
    const { setImmediate: immediate, queueMicrotask: microtask } = globalThis;
    const queue = (run: () => void) => void this.#immediates.push(run);
    globalThis.setImmediate = queue as unknown as typeof setImmediate;
    // In the same order as Node's, which makes a resource of each for those who trace them.
    const settled = Promise.resolve();
    const queueMicro = (run: () => void) => void settled.then(run);
    globalThis.queueMicrotask = queueMicro;
    try {
      this.#settle();
      for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
        this.#pop();
        if (next.run === undefined) continue;
        this.#nowMs = Math.max(this.#nowMs, next.atMs);
        this.steps++;
        next.run();
        this.#settle();
        if (isOver()) return;
      }
      this.#nowMs = Math.max(this.#nowMs, untilMs);
    } finally {
      globalThis.setImmediate = immediate;
      globalThis.queueMicrotask = microtask;
    }
  }

  /** Everything that is ready, and what that makes ready. */
  #settle(): void {
    flushMicrotasks();
    for (let count = 0; this.#immediates.length > 0; count++) {
      if (count > IMMEDIATES_MAX) throw new Error("the program spins without letting time pass");
      const ready = this.#immediates;
      this.#immediates = [];
      for (const run of ready) {
        run();
        flushMicrotasks();
      }
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Entry;
      if (!isBefore(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Entry, heap[child] as Entry)) child++;
      const below = heap[child] as Entry;
      if (!isBefore(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.tie < b.tie);
}
