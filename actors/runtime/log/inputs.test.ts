import { describe, expect, it } from "vitest";
import { InputQueue, type Input, type InputSource } from "./inputs.ts";

const START = new Map([["log" as const, { sequence: 0, taken: 0, whole: true }]]);

function input(sequence: number, index = 0, isLast = true, source: InputSource = "log"): Input {
  const body = { case: "undecodable" as const, raw: new Uint8Array(0), error: "" };
  return { source, sequence, index, isLast, atMs: 0, arrivedMs: 0, body };
}

describe("positions", () => {
  it("pass what is for others, and do not fall back when something of ours comes", () => {
    const queue = new InputQueue(START);
    for (const sequence of [1, 2, 3]) queue.see("log", sequence);
    expect(queue.positions().get("log")).toEqual({ sequence: 3, taken: 0, whole: true });
    queue.see("log", 4);
    queue.push(input(4));
    expect(queue.positions().get("log")).toEqual({ sequence: 3, taken: 0, whole: true });
  });

  it("stay within a message that is taken in part", () => {
    const queue = new InputQueue(START);
    queue.see("log", 1);
    queue.push(input(1, 0, false));
    queue.push(input(1, 1));
    queue.take();
    queue.see("log", 2);
    expect(queue.positions().get("log")).toEqual({ sequence: 1, taken: 1, whole: false });
    const next = new InputQueue(queue.positions());
    next.see("log", 1);
    next.push(input(1, 0, false));
    next.push(input(1, 1));
    expect(next.take()).toMatchObject({ sequence: 1, index: 1 });
    expect(next.take()).toBeUndefined();
  });
});

it("gives out the inputs of one source alone while only they may be taken, and the others afterwards", () => {
  const queue = new InputQueue(START);
  const sources: InputSource[] = ["inbox", "log", "inbox", "log"];
  sources.forEach((source, i) => {
    queue.see(source, i + 1);
    queue.push(input(i + 1, 0, true, source));
  });
  queue.only = "log";
  expect([queue.take(), queue.take()].map((taken) => taken?.sequence)).toEqual([2, 4]);
  expect(queue.peek()).toBeUndefined();
  expect(queue.positions().get("log")).toMatchObject({ sequence: 4, whole: true });
  expect([queue.length, queue.waiting("inbox"), queue.waiting("log")]).toEqual([2, 2, 0]);
  queue.only = undefined;
  expect([queue.take(), queue.take(), queue.take()].map((taken) => taken?.sequence)).toEqual([
    1,
    3,
    undefined,
  ]);
});
