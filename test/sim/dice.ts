import { seededRandom, type Random } from "../../platform/random.ts";

/** Draws of one kind of decision. Kinds have streams of their own, so that one more draw here changes nothing there. */
export class Dice {
  readonly random: Random;

  constructor(seed: number, purpose: string) {
    let mixed = seed >>> 0;
    for (const char of purpose) mixed = Math.imul(mixed ^ char.charCodeAt(0), 0x01000193) >>> 0;
    this.random = seededRandom(mixed ^ Math.imul(seed + 1, 0x9e3779b1));
  }

  chance(rate: number): boolean {
    return rate > 0 && this.random.float() < rate;
  }

  /** Uniform, both ends included. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.random.float() * (max - min + 1));
  }

  pick<T>(choices: readonly T[]): T {
    const chosen = choices[Math.floor(this.random.float() * choices.length)];
    if (chosen === undefined) throw new RangeError("nothing to pick from");
    return chosen;
  }
}
