import { describe, expect, it } from "vitest";
import { seededRandom, systemRandom } from "./random.ts";

const ID_FORM = /^[0-9a-z]{26}$/;

describe("systemRandom", () => {
  it("makes ids of 26 characters that are all different", () => {
    const ids = Array.from({ length: 2_000 }, () => systemRandom.id());
    for (const id of ids) expect(id).toMatch(ID_FORM);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("makes ids that sort by the time they were made", async () => {
    const before = systemRandom.id();
    await new Promise((resolve) => setTimeout(resolve, 3));
    expect(systemRandom.id() > before).toBe(true);
  });

  it("makes numbers in [0, 1)", () => {
    for (let i = 0; i < 100; i++) expect(systemRandom.float()).toSatisfy((n: number) => n >= 0 && n < 1);
  });
});

describe("seededRandom", () => {
  const take = (seed: number) => {
    const random = seededRandom(seed);
    return Array.from({ length: 5 }, () => [random.float(), random.id()]);
  };

  it("repeats itself for a seed and differs for another", () => {
    expect(take(7)).toEqual(take(7));
    expect(take(7)).not.toEqual(take(8));
  });

  it("makes ids that sort in their order", () => {
    const random = seededRandom(1);
    const ids = Array.from({ length: 100 }, () => random.id());
    expect(ids.toSorted()).toEqual(ids);
    for (const id of ids) expect(id).toMatch(ID_FORM);
  });

  it("spreads numbers evenly", () => {
    const random = seededRandom(3);
    const tenths = Array.from({ length: 10 }, () => 0);
    for (let i = 0; i < 10_000; i++) {
      const tenth = Math.floor(random.float() * 10);
      tenths[tenth] = (tenths[tenth] ?? 0) + 1;
    }
    for (const count of tenths) expect(count).toSatisfy((n: number) => n > 850 && n < 1_150);
  });
});
