/** What the comparison of one check came to. */
export interface Check {
  readonly name: string;
  /** settling: a difference that messages on their way may explain; ask again. */
  readonly verdict: "clean" | "settling" | "different";
  /** Of the first difference, or of all when clean. */
  readonly expected: string;
  readonly actual: string;
  readonly text: string;
  /** Keys of what differs, at most {@link SAMPLES_MAX}. */
  readonly samples: readonly string[];
}

export const SAMPLES_MAX = 20;

interface Difference {
  readonly key: string;
  readonly expected: string;
  readonly actual: string;
  readonly isMoving: boolean;
}

/** Collects the comparisons of one check. */
export class Comparison {
  readonly #name: string;
  readonly #what: string;
  readonly #differences: Difference[] = [];
  #count = 0;
  #differing = 0;

  /** @param what is compared, for people: `units reserved in stock against holds of orders` */
  constructor(name: string, what: string) {
    this.#name = name;
    this.#what = what;
  }

  compare(key: string, expected: bigint | string, actual: bigint | string, isMoving: boolean): void {
    this.#count += 1;
    if (expected === actual) return;
    this.#differing += 1;
    const difference = { key, expected: String(expected), actual: String(actual), isMoving };
    if (this.#differences.length < SAMPLES_MAX || !isMoving) this.#differences.push(difference);
    if (this.#differences.length > 2 * SAMPLES_MAX) this.#differences.splice(SAMPLES_MAX);
  }

  /** @param isMoving something changed a moment ago: any difference may be one of time alone */
  finish(isMoving: boolean): Check {
    const found = this.#differences.toSorted((a, b) => Number(a.isMoving) - Number(b.isMoving));
    const [first] = found;
    if (first === undefined) {
      const all = `${this.#count} compared`;
      return {
        name: this.#name,
        verdict: "clean",
        expected: all,
        actual: all,
        text: this.#what,
        samples: [],
      };
    }
    return {
      name: this.#name,
      verdict: isMoving || first.isMoving ? "settling" : "different",
      expected: first.expected,
      actual: first.actual,
      text: `${this.#what}: ${this.#differing} of ${this.#count} differ, first ${first.key}`,
      samples: [...new Set(found.map(({ key }) => key))].slice(0, SAMPLES_MAX),
    };
  }
}
