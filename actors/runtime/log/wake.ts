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
        this.#resolve = () => {
          timer.cancel();
          resolve();
        };
      });
      this.#resolve = undefined;
    }
    this.#isSet = false;
  }
}
