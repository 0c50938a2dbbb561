import { expect, it } from "vitest";
import { placeLogs } from "./placement.ts";

const WORKERS = ["a", "b", "c"];

it("gives nobody more than its share, and the same answer everywhere", () => {
  const placed = placeLogs("core", 6, WORKERS);
  for (const worker of WORKERS) expect(placed.filter((owner) => owner === worker)).toHaveLength(2);
  expect(placeLogs("core", 6, WORKERS.toReversed())).toEqual(placed);
});

it("leaves a log that a worker is reluctant to take to the others, and moves no more than it must", () => {
  const before = placeLogs("core", 4, WORKERS);
  const owner = before[2] ?? "";
  const after = placeLogs("core", 4, WORKERS, (worker, log) => (worker === owner && log === 2 ? 1 : 0));
  expect(after[2]).not.toBe(owner);
  expect(after.slice(0, 2)).toEqual(before.slice(0, 2));
});

it("gives a log that nobody likes to somebody all the same", () => {
  expect(placeLogs("core", 1, WORKERS, () => 1)).toEqual(placeLogs("core", 1, WORKERS));
});

it("deals logs out among those who are reluctant where nobody else is", () => {
  expect(placeLogs("core", 6, WORKERS, () => 1)).toEqual(placeLogs("core", 6, WORKERS));
});
