// Amounts are bigint minor units of one currency; nothing here rounds but what says so.

/** Largest amount that is accepted or computed, in minor units; it leaves room for sums in 64 bits. */
export const AMOUNT_MAX = 10n ** 15n;

/** An amount outside ±{@link AMOUNT_MAX}. */
export class AmountRangeError extends RangeError {
  override readonly name = "AmountRangeError";
}

/** @throws AmountRangeError */
export function checkedAmount(amount: bigint): bigint {
  if (amount > AMOUNT_MAX || amount < -AMOUNT_MAX) {
    throw new AmountRangeError(`an amount of ${amount} minor units is more than ${AMOUNT_MAX}`);
  }
  return amount;
}

/** The quotient rounded half up, for a dividend ≥ 0 and a divisor > 0. */
export function divideHalfUp(dividend: bigint, divisor: bigint): bigint {
  return (2n * dividend + divisor) / (2n * divisor);
}

const BASIS_POINTS = 10_000n;

/** Tax on a net amount ≥ 0, rounded half up. @throws AmountRangeError */
export function taxOf(net: bigint, rateBp: number): bigint {
  return checkedAmount(divideHalfUp(net * BigInt(rateBp), BASIS_POINTS));
}

/**
 * Splits an amount over weights ≥ 0 so that the parts add up to it and none is more than a unit away from its exact
 * share; leftover units go to the largest remainders, the first among equals. With an amount up to the sum of the
 * weights no part is larger than its weight. Without any weight the amount must be 0.
 */
export function spreadByLargestRemainder(amount: bigint, weights: readonly bigint[]): bigint[] {
  const sum = weights.reduce((total, weight) => total + weight, 0n);
  if (sum === 0n) {
    if (amount !== 0n) throw new AmountRangeError(`nothing to spread ${amount} minor units over`);
    return weights.map(() => 0n);
  }
  const parts = weights.map((weight) => (amount * weight) / sum);
  const rests = weights.map((weight, index) => ({ index, rest: (amount * weight) % sum }));
  let left = amount - parts.reduce((total, part) => total + part, 0n);
  rests.sort((a, b) => (a.rest === b.rest ? a.index - b.index : a.rest > b.rest ? -1 : 1));
  for (const { index } of rests) {
    if (left === 0n) break;
    parts[index] = (parts[index] ?? 0n) + 1n;
    left -= 1n;
  }
  return parts;
}
