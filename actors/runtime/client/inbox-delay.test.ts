import { expect, it } from "vitest";
import { HandClock } from "./client-testing.ts";
import { InboxDelay } from "./inbox-delay.ts";

it("is as old as the oldest bundle that the owner has not taken", async () => {
  const clock = new HandClock();
  const delay = new InboxDelay(clock);
  const store = (sequence: number) => delay.stored("core", 0, sequence, clock.monotonicMs());
  expect(delay.of("core", 0)).toEqual({ ageMs: 0, silentMs: Infinity });
  store(5);
  await clock.pass(100);
  store(7);
  await clock.pass(50);
  expect(delay.of("core", 0)).toEqual({ ageMs: 150, silentMs: Infinity });
  delay.taken("core", 0, 6);
  expect(delay.of("core", 0)).toEqual({ ageMs: 50, silentMs: 0 });
  await clock.pass(30);
  delay.taken("core", 0, 6); // said again: it has not moved
  expect(delay.of("core", 0)).toEqual({ ageMs: 80, silentMs: 30 });
  delay.taken("core", 0, 9);
  expect(delay.of("core", 0)).toEqual({ ageMs: 0, silentMs: 0 });
  store(8); // its ack comes after the word that it was taken
  expect(delay.of("core", 0).ageMs).toBe(0);
  expect(delay.of("core", 1).ageMs).toBe(0);
});

it("keeps a bounded number of bundles, and none looks younger than it is", async () => {
  const clock = new HandClock();
  const delay = new InboxDelay(clock);
  for (let sequence = 1; sequence <= 5_000; sequence++) {
    delay.stored("core", 0, sequence, clock.monotonicMs());
    await clock.pass(0);
  }
  await clock.pass(10);
  delay.taken("core", 0, 4_999);
  expect(delay.of("core", 0).ageMs).toBeGreaterThanOrEqual(10);
  delay.taken("core", 0, 5_000);
  expect(delay.of("core", 0).ageMs).toBe(0);
});
