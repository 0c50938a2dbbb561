import { describe, expect, it } from "vitest";
import { InputQueue, type Input } from "./inputs.ts";

const START = new Map([["log" as const, { sequence: 0, taken: 0, whole: true }]]);

function input(sequence: number, index = 0, isLast = true): Input {
  const body = { case: "undecodable" as const, raw: new Uint8Array(0), error: "" };
  return { source: "log", sequence, index, isLast, atMs: 0, arrivedMs: 0, body };
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
