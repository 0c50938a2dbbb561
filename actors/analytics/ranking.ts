import type { Ranking } from "../../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";

/** Candidates of one ranking. */
export const CANDIDATES_MAX = 256;

/** Candidates that a look at all of them keeps in mind, and those that have no more than the last of these. */
const LOW_COUNT = 24;

/** The lowest candidates as a look at all has shown them, in the order of the ranking. */
interface Low {
  ids: string[];
  /** Every other candidate has more. */
  readonly bound: bigint;
}

/** It holds until a candidate that is not among them falls to the bound. */
const lows = new WeakMap<Ranking["scores"], Low>();

/**
 * Takes note of the newest score of one id. Whoever is not among the candidates never had more than `floor`: the
 * ranking is exact down to the last candidate that has at least as much.
 */
export function rank(ranking: Ranking, id: string, score: bigint): void {
  const { scores } = ranking;
  const low = lows.get(scores);
  if (scores[id] !== undefined && Object.hasOwn(scores, id)) {
    scores[id] = score;
    if (low !== undefined && score <= low.bound && !low.ids.includes(id)) lows.delete(scores);
    return;
  }
  const least = leastOf(scores, low);
  if (least === undefined) {
    scores[id] = score;
    return;
  }
  const lowest = scores[least] ?? 0n;
  if (score <= lowest) {
    if (score > ranking.floor) ranking.floor = score;
    return;
  }
  delete scores[least];
  scores[id] = score;
  if (lowest > ranking.floor) ranking.floor = lowest;
  const kept = lows.get(scores);
  if (kept === undefined) return;
  kept.ids = kept.ids.filter((held) => held !== least);
  if (score <= kept.bound) kept.ids.push(id);
}

/** The candidate that would go next: the first of those with the lowest score. None while there is room for another. */
function leastOf(scores: Ranking["scores"], low: Low | undefined): string | undefined {
  if (low !== undefined) {
    const least = firstLowest(scores, low.ids);
    if (least !== undefined && (scores[least] ?? 0n) <= low.bound) return least;
  }
  const ids = Object.keys(scores);
  if (ids.length < CANDIDATES_MAX) return undefined;
  const sorted = ids.map((id) => scores[id] ?? 0n).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const bound = sorted[LOW_COUNT - 1] ?? 0n;
  lows.set(scores, { ids: ids.filter((id) => (scores[id] ?? 0n) <= bound), bound });
  return firstLowest(scores, ids);
}

function firstLowest(scores: Ranking["scores"], ids: readonly string[]): string | undefined {
  let lowest: string | undefined;
  let score = 0n;
  for (const id of ids) {
    const held = scores[id] ?? 0n;
    if (lowest !== undefined && held >= score) continue;
    score = held;
    lowest = id;
  }
  return lowest;
}
