import type { Ranking } from "../../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";

/** Candidates of one ranking. */
export const CANDIDATES_MAX = 256;

/** The candidate that would go next: the first of those with the lowest score. */
interface Least {
  readonly id: string;
  readonly score: bigint;
}

/** What a look at all candidates of a full ranking has shown. It holds until a score changes that may be the lowest. */
const leasts = new WeakMap<Ranking["scores"], Least>();

/**
 * Takes note of the newest score of one id. Whoever is not among the candidates never had more than `floor`: the
 * ranking is exact down to the last candidate that has at least as much.
 */
export function rank(ranking: Ranking, id: string, score: bigint): void {
  const { scores } = ranking;
  const known = leasts.get(scores);
  if (scores[id] !== undefined && Object.hasOwn(scores, id)) {
    scores[id] = score;
    if (known !== undefined && (known.id === id || score <= known.score)) leasts.delete(scores);
    return;
  }
  const least = known ?? leastOf(scores);
  if (least === undefined) {
    scores[id] = score;
  } else if (score <= least.score) {
    leasts.set(scores, least);
    if (score > ranking.floor) ranking.floor = score;
  } else {
    leasts.delete(scores);
    delete scores[least.id];
    scores[id] = score;
    if (least.score > ranking.floor) ranking.floor = least.score;
  }
}

/** Undefined while there is room for another candidate. */
function leastOf(scores: Ranking["scores"]): Least | undefined {
  let count = 0;
  let id = "";
  let score = 0n;
  for (const candidate in scores) {
    const held = scores[candidate] ?? 0n;
    if (count++ > 0 && held >= score) continue;
    score = held;
    id = candidate;
  }
  return count < CANDIDATES_MAX ? undefined : { id, score };
}
