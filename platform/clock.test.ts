import { describe, expect, it } from "vitest";
import { type Clock, sleep, systemClock } from "./clock.ts";

/** A clock that fires only by hand. */
function handClock() {
  const timers = new Set<() => void>();
  const clock: Clock = {
    nowMs: () => 0,
    monotonicMs: () => 0,
    setTimer: (run) => {
      timers.add(run);
      return { cancel: () => void timers.delete(run) };
    },
  };
  return { clock, timers, fire: () => [...timers].forEach((run) => run()) };
}

describe("sleep", () => {
  it("ends when its timer fires", async () => {
    const { clock, timers, fire } = handClock();
    const waiting = sleep(clock, 60_000);
    fire();
    await waiting;
    expect(timers.size).toBe(0);
  });

  it("ends early and without an error on abort, and leaves no timer", async () => {
    const { clock, timers } = handClock();
    const abort = new AbortController();
    const waiting = sleep(clock, 60_000, abort.signal);
    abort.abort();
    await waiting;
    expect(timers.size).toBe(0);
  });

  it("does not begin when already aborted", async () => {
    const { clock, timers } = handClock();
    await sleep(clock, 60_000, AbortSignal.abort());
    expect(timers.size).toBe(0);
  });
});

describe("systemClock", () => {
  it("fires after the delay, a negative one at once", async () => {
    const startedMs = systemClock.monotonicMs();
    await sleep(systemClock, 5);
    await sleep(systemClock, -1);
    expect(systemClock.monotonicMs() - startedMs).toBeGreaterThanOrEqual(4);
  });

  it("does not fire after a cancel, nor at once for a delay above 2^31 ms", async () => {
    let fired = 0;
    const timers = [systemClock.setTimer(() => fired++, 1), systemClock.setTimer(() => fired++, 2 ** 31 + 5)];
    timers[0]?.cancel();
    await sleep(systemClock, 10);
    timers[1]?.cancel();
    expect(fired).toBe(0);
  });
});
