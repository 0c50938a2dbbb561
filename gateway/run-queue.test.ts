import { expect, it } from "vitest";
import { systemClock } from "../platform/clock.ts";
import { RunQueue } from "./run-queue.ts";

const WAIT_MS_MAX = 100;
const never = () => false;
const turn = () => new Promise((resolve) => setImmediate(resolve));

it("begins calls in order, at once while few come, a bounded number in each turn", async () => {
  const queue = new RunQueue({ ...systemClock, monotonicMs: () => 0 }, WAIT_MS_MAX);
  const begun: number[] = [];
  for (let call = 0; call < 200; call++) queue.run(() => begun.push(call), never);
  const first = begun.length;
  expect(first).toBeGreaterThan(0);
  expect(first).toBeLessThan(100);
  await turn();
  expect(begun.length).toBeGreaterThan(first);
  expect(begun.length).toBeLessThan(200);
  queue.run(() => begun.push(200), never); // does not overtake those that wait
  for (let i = 0; i < 10; i++) await turn();
  expect(begun).toEqual(Array.from({ length: 201 }, (_, call) => call));
  queue.run(() => begun.push(201), never);
  expect(begun).toHaveLength(202);
});

it("begins another call in the place of one that is over when its turn comes", async () => {
  const queue = new RunQueue({ ...systemClock, monotonicMs: () => 0 }, WAIT_MS_MAX);
  const begun: number[] = [];
  let areOver = false;
  for (let call = 0; call < 1_000; call++) {
    const isOver = () => areOver && call < 900;
    queue.run(() => begun.push(call), isOver);
  }
  const first = begun.length;
  areOver = true;
  await turn();
  expect(begun.slice(first)).toEqual(Array.from({ length: first }, (_, at) => 900 + at));
});

it("is behind while a call waits for too long, and makes no other wait behind it", async () => {
  let nowMs = 5;
  const queue = new RunQueue({ ...systemClock, monotonicMs: () => nowMs }, WAIT_MS_MAX);
  const begun: number[] = [];
  for (let call = 0; call < 400; call++) queue.run(() => begun.push(call), never);
  expect(queue.behindMs).toBe(0);
  nowMs += WAIT_MS_MAX + 1;
  expect(queue.behindMs).toBe(WAIT_MS_MAX + 1);
  queue.run(() => begun.push(400), never);
  expect(begun.at(-1)).toBe(400);
  for (let i = 0; i < 10; i++) await turn();
  expect(begun).toHaveLength(401);
  expect(queue.behindMs).toBe(0);
});

it("is not behind with what is begun soon, however long the process was not running", () => {
  let nowMs = 0;
  const queue = new RunQueue({ ...systemClock, monotonicMs: () => nowMs }, WAIT_MS_MAX);
  for (let call = 0; call < 256; call++) queue.run(() => {}, never);
  nowMs += 10 * WAIT_MS_MAX;
  expect(queue.behindMs).toBe(0);
});
