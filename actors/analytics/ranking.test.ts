import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RankingSchema } from "../../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import { CANDIDATES_MAX, rank } from "./ranking.ts";

describe("a ranking", () => {
  it("never has a greater score outside than its floor, and is exact down to it", () => {
    const change = fc.tuple(fc.nat(600), fc.bigInt({ min: -500n, max: 1_000n }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 300, maxLength: 3_000, size: "max" }), (changes) => {
        const ranking = create(RankingSchema);
        const scores = new Map<string, bigint>();
        for (const [number, delta] of changes) {
          const id = `c${number}`;
          const score = (scores.get(id) ?? 0n) + delta;
          scores.set(id, score);
          rank(ranking, id, score);
        }
        expect(Object.keys(ranking.scores).length).toBe(Math.min(CANDIDATES_MAX, scores.size));
        for (const [id, score] of scores) {
          if (Object.hasOwn(ranking.scores, id)) expect(ranking.scores[id]).toBe(score);
          else expect(score <= ranking.floor).toBe(true);
        }
      }),
      { numRuns: 30 },
    );
  });

  it("takes names that objects have of their own", () => {
    const ranking = create(RankingSchema);
    rank(ranking, "constructor", 5n);
    rank(ranking, "constructor", 7n);
    expect(ranking.scores["constructor"]).toBe(7n);
  });
});
