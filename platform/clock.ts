/** A timer that has not fired yet can be cancelled; cancelling twice or after it fired does nothing. */
export interface TimerHandle {
  cancel(): void;
}

/** The only source of time. Simulations pass their own, so nothing above platform/ may read time elsewhere. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. May jump; never decide an order of events by it. */
  nowMs(): number;
  /** Milliseconds from an arbitrary start that never go back. Use it for deadlines and durations. */
  monotonicMs(): number;
  /** Runs once after at least `delayMs`. Below zero counts as zero; there is no upper bound. */
  setTimer(run: () => void, delayMs: number): TimerHandle;
}

/** setTimeout fires at once above this: longer delays are waited for in slices. */
const TIMER_SLICE_MS_MAX = 2_147_483_647;

function setSystemTimer(run: () => void, delayMs: number): TimerHandle {
  if (delayMs <= TIMER_SLICE_MS_MAX) {
    const timer = setTimeout(run, Math.max(0, delayMs));
    return { cancel: () => clearTimeout(timer) };
  }
  let handle: NodeJS.Timeout;
  const arm = (remainingMs: number) => {
    const sliceMs = Math.min(remainingMs, TIMER_SLICE_MS_MAX);
    handle = setTimeout(() => (remainingMs > sliceMs ? arm(remainingMs - sliceMs) : run()), sliceMs);
  };
  arm(delayMs);
  return { cancel: () => clearTimeout(handle) };
}

/** Real time. Its timers keep the process alive until they fire or are cancelled. */
export const systemClock: Clock = Object.freeze({
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer: setSystemTimer,
});

/** Waits `delayMs` on the given clock. An abort ends the wait early and without an error: check the signal after. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      timer.cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.setTimer(done, delayMs);
    signal?.addEventListener("abort", done, { once: true });
  });
}
