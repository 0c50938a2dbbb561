import type { Ranking } from "../../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";

/** Candidates of one ranking. */
export const CANDIDATES_MAX = 256;

/**
 * Takes note of the newest score of one id. Whoever is not among the candidates never had more than `floor`: the
 * ranking is exact down to the last candidate that has at least as much.
 */
export function rank(ranking: Ranking, id: string, score: bigint): void {
  const { scores } = ranking;
  if (Object.hasOwn(scores, id)) {
    scores[id] = score;
    return;
  }
  let count = 0;
  let leastId = "";
  let least = score;
  for (const candidate in scores) {
    count += 1;
    const held = scores[candidate] ?? 0n;
    if (held >= least) continue;
    least = held;
    leastId = candidate;
  }
  if (count < CANDIDATES_MAX) {
    scores[id] = score;
  } else if (leastId === "") {
    if (score > ranking.floor) ranking.floor = score;
  } else {
    delete scores[leastId];
    scores[id] = score;
    if (least > ranking.floor) ranking.floor = least;
  }
}
