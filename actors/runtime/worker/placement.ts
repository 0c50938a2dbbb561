import { fnv1a } from "../topology.ts";

/**
 * Who should own which log: rendezvous hashing with a bound, so that nobody gets more than its share. The same members
 * give the same answer everywhere; when one comes or goes few logs move.
 * @param reluctance of a worker to take a log: those with the least share it
 * @returns the worker of each log, by log number; empty without workers
 */
export function placeLogs(
  group: string,
  logs: number,
  workers: readonly string[],
  reluctance: (worker: string, log: number) => number = () => 0,
): readonly string[] {
  if (workers.length === 0) return [];
  const share = Math.ceil(logs / workers.length);
  const counts = new Map<string, number>();
  return Array.from({ length: logs }, (_, log) => {
    const ranked = workers
      .map((worker) => ({
        worker,
        reluctance: reluctance(worker, log),
        score: fnv1a(`${worker}/${group}/${log}`),
      }))
      .sort((a, b) => a.reluctance - b.reluctance || b.score - a.score || (a.worker < b.worker ? -1 : 1));
    const willing = ranked.filter((candidate) => candidate.reluctance === ranked[0]?.reluctance);
    const chosen = willing.find(({ worker }) => (counts.get(worker) ?? 0) < share) ?? willing[0];
    if (chosen === undefined) return "";
    counts.set(chosen.worker, (counts.get(chosen.worker) ?? 0) + 1);
    return chosen.worker;
  });
}
