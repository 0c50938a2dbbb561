import type { Clock } from "../../../platform/clock.ts";

/** A flag that one waiter sleeps on. Waking before the wait is not lost. */
export class Wake {
  #isSet = false;
  #resolve: (() => void) | undefined;

  /** Ends the wait under way, or the next one. */
  now(): void {
    this.#isSet = true;
    this.#resolve?.();
  }

  /** Returns when woken or after `delayMs`. */
  async wait(clock: Clock, delayMs: number): Promise<void> {
    if (!this.#isSet) {
      await new Promise<void>((resolve) => {
        const timer = clock.setTimer(resolve, delayMs);
        // Named first: a function that is written down in a property at once, V8 allocates among what lives long.
        const end = () => {
          timer.cancel();
          resolve();
        };
        this.#resolve = end;
      });
      this.#resolve = undefined;
    }
    this.#isSet = false;
  }
}
