import type { Clock, TimerHandle } from "../../../platform/clock.ts";

/** A way that takes time and keeps the order of what is sent on it. */
export class MemoryWire {
  readonly #clock: Clock;
  #queue: { readonly atMs: number; readonly run: () => void }[] = [];
  #lastMs = 0;
  #timer: TimerHandle | undefined;
  #isArriving = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** When something sent now would arrive, in milliseconds from now. */
  delayMs(ownMs: number): number {
    const nowMs = this.#clock.monotonicMs();
    return this.#queue.length === 0 ? ownMs : Math.max(ownMs, this.#lastMs - nowMs);
  }

  /** Runs at once if there is no delay and nothing is on its way. */
  send(ownMs: number, run: () => void): void {
    if (ownMs <= 0 && this.#queue.length === 0 && !this.#isArriving) return run();
    const atMs = Math.max(this.#clock.monotonicMs() + Math.max(0, ownMs), this.#lastMs);
    this.#lastMs = atMs;
    this.#queue.push({ atMs, run });
    this.#arm();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#queue = [];
  }

  #arm(): void {
    const head = this.#queue[0];
    if (head === undefined || this.#timer !== undefined) return;
    this.#timer = this.#clock.setTimer(() => this.#arrive(), head.atMs - this.#clock.monotonicMs());
  }

  #arrive(): void {
    this.#timer = undefined;
    this.#isArriving = true;
    while ((this.#queue[0]?.atMs ?? Infinity) <= this.#clock.monotonicMs()) this.#queue.shift()?.run();
    this.#isArriving = false;
    this.#arm(); // also when the timer was early by a fraction of a millisecond
  }
}
