import { expect, it } from "vitest";
import { systemClock } from "../platform/clock.ts";
import { createFigureBoard } from "./figure-board.ts";

function setup() {
  let nowMs = 0;
  let computed = 0;
  const board = createFigureBoard({ ...systemClock, monotonicMs: () => nowMs });
  const compute = async () => ({ count: BigInt(++computed), asOf: computed });
  return { board, compute, at: (ms: number) => void (nowMs = ms), computed: () => computed };
}

it("computes once for all who want the figures of one moment", async () => {
  const { board, compute, computed, at } = setup();
  at(100);
  const all = await Promise.all([1, 2, 3].map(() => board.get("total", 90, compute)));
  expect(computed()).toBe(1);
  expect(new Set(all.map(({ text }) => text)).size).toBe(1);
});

it("computes anew for a change that came after the last computation began", async () => {
  const { board, compute, at } = setup();
  at(100);
  await board.get("total", 100, compute);
  at(120);
  expect((await board.get("total", 110, compute)).value.count).toBe(2n);
});

it("keeps no failure", async () => {
  const { board, compute } = setup();
  await expect(board.get("total", 0, () => Promise.reject(new Error("down")))).rejects.toThrow("down");
  expect((await board.get("total", 0, compute)).value.count).toBe(1n);
});

it("does not count the time alone as a difference", async () => {
  const { board } = setup();
  const texts = [1, 2].map((asOf) => board.get(`n${asOf}`, 0, async () => ({ count: 7n, asOf })));
  const [one, two] = await Promise.all(texts);
  expect(one?.text).toBe(two?.text);
});
