import { expect, it } from "vitest";
import { isLinearizable, type Operation } from "./linearizability.ts";

const UNKNOWN = Infinity;
let count = 0;

function did(
  kind: Operation["kind"],
  at: readonly [number, number],
  amount: bigint,
  answer: string,
): Operation {
  return { name: `n${count++}`, kind, startedAt: at[0], endedAt: at[1], amount, sent: 0n, answer };
}

const opened = did("open", [1, 2], 5n, "ok 5");

it("takes what happened one after the other", () => {
  const taken = did("adjust", [3, 4], -3n, "ok 2");
  expect(isLinearizable([opened, taken, did("read", [5, 6], 0n, "2")])).toBe(true);
  expect(isLinearizable([opened, taken, did("adjust", [5, 6], -3n, "no SHORT")])).toBe(true);
});

it("takes any order of what happened at once, if the answers fit it", () => {
  const both = [did("adjust", [3, 6], -3n, "no SHORT"), did("adjust", [4, 5], -4n, "ok 1")];
  expect(isLinearizable([opened, ...both])).toBe(true);
  expect(isLinearizable([opened, ...both, did("read", [7, 8], 0n, "2")])).toBe(false);
});

it("finds a read that is older than an answer", () => {
  const added = did("adjust", [3, 4], 1n, "ok 6");
  expect(isLinearizable([opened, added, did("read", [5, 6], 0n, "5")])).toBe(false);
  expect(isLinearizable([opened, added, did("read", [3, 6], 0n, "5")])).toBe(true);
});

it("finds two reads that differ about the order", () => {
  const adding = did("adjust", [3, 9], 1n, "ok 6");
  const [after, before] = [did("read", [4, 5], 0n, "6"), did("read", [6, 7], 0n, "5")];
  expect(isLinearizable([opened, adding, after, before])).toBe(false);
});

it("finds a refusal without a reason", () => {
  expect(isLinearizable([opened, did("adjust", [3, 4], -5n, "no SHORT")])).toBe(false);
  expect(isLinearizable([opened, did("adjust", [3, 4], 5n, "no NOT_FOUND")])).toBe(false);
  expect(isLinearizable([did("adjust", [1, 4], 5n, "no NOT_FOUND"), did("open", [2, 3], 5n, "ok 5")])).toBe(
    true,
  );
});

it("lets what has no answer happen at any time, once, or never", () => {
  const lost = did("adjust", [3, UNKNOWN], -5n, "");
  expect(isLinearizable([opened, lost])).toBe(true);
  expect(isLinearizable([opened, lost, did("read", [4, 5], 0n, "5"), did("read", [6, 7], 0n, "0")])).toBe(
    true,
  );
  expect(isLinearizable([opened, lost, did("read", [4, 5], 0n, "0"), did("read", [6, 7], 0n, "5")])).toBe(
    false,
  );
  expect(isLinearizable([did("read", [1, 2], 0n, "0"), opened, lost])).toBe(false);
});
