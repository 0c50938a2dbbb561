import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  AMOUNT_MAX,
  AmountRangeError,
  checkedAmount,
  divideHalfUp,
  spreadByLargestRemainder,
  taxOf,
} from "./money.ts";

const amounts = fc.bigInt({ min: 0n, max: AMOUNT_MAX });
const sum = (parts: readonly bigint[]) => parts.reduce((total, part) => total + part, 0n);

describe("money", () => {
  it.each([
    [5n, 10n, 1n],
    [4n, 10n, 0n],
    [15n, 10n, 2n],
    [0n, 7n, 0n],
  ])("%d / %d rounds half up to %d", (dividend, divisor, quotient) => {
    expect(divideHalfUp(dividend, divisor)).toBe(quotient);
  });

  it("taxes half up", () => {
    expect(taxOf(250n, 1_000)).toBe(25n);
    expect(taxOf(50n, 100)).toBe(1n);
    expect(taxOf(49n, 100)).toBe(0n);
    expect(taxOf(9_007_199_254_740_993n / 10n, 1_900)).toBe(171_136_785_840_079n);
  });

  it("refuses what cannot be exact", () => {
    expect(checkedAmount(AMOUNT_MAX)).toBe(AMOUNT_MAX);
    expect(() => checkedAmount(AMOUNT_MAX + 1n)).toThrow(AmountRangeError);
    expect(() => spreadByLargestRemainder(1n, [0n, 0n])).toThrow(AmountRangeError);
  });

  it("spreads by largest remainder, the first among equals", () => {
    expect(spreadByLargestRemainder(100n, [1n, 1n, 1n])).toEqual([34n, 33n, 33n]);
    expect(spreadByLargestRemainder(10n, [1n, 2n, 1n])).toEqual([3n, 5n, 2n]);
    expect(spreadByLargestRemainder(0n, [])).toEqual([]);
  });

  it("spreads without loss and never beyond a weight", () => {
    const cases = fc
      .array(amounts, { minLength: 1, maxLength: 20 })
      .chain((weights) => fc.tuple(fc.constant(weights), fc.bigInt({ min: 0n, max: sum(weights) })));
    fc.assert(
      fc.property(cases, ([weights, amount]) => {
        const parts = spreadByLargestRemainder(amount, weights);
        expect(sum(parts)).toBe(amount);
        expect(parts.every((part, index) => part >= 0n && part <= (weights[index] ?? -1n))).toBe(true);
      }),
    );
  });
});
