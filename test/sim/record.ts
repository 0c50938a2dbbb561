import { readFileSync, writeFileSync } from "node:fs";
import { PLANTS } from "./plants.ts";

/** How a planted bug was found. */
export interface Finding {
  readonly seed: number;
  /** What it broke. */
  readonly invariant: string;
}

const FOUND = new URL("found.json", import.meta.url);
const PAGE = new URL("../../docs/simulation.md", import.meta.url);
const START = "<!-- plants: npm run sim -- --plants --record -->";
const END = "<!-- end -->";

/** First seed that finds each planted bug, as it was when they were last recorded. */
export function recordedSeeds(): Record<string, number> {
  return JSON.parse(readFileSync(FOUND, "utf8")) as Record<string, number>;
}

/** Keeps the first seeds, for the next run and for people. */
export function record(found: ReadonlyMap<string, Finding>): void {
  const seeds = PLANTS.flatMap(({ name }) => {
    const finding = found.get(name);
    return finding === undefined ? [] : [[name, finding.seed] as const];
  });
  writeFileSync(FOUND, `${JSON.stringify(Object.fromEntries(seeds), undefined, 2)}\n`);
  const page = readFileSync(PAGE, "utf8");
  const [before = "", rest = ""] = page.split(START);
  const [, after = ""] = rest.split(END);
  writeFileSync(PAGE, `${before}${START}\n\n${table(found)}\n\n${END}${after}`);
}

function table(found: ReadonlyMap<string, Finding>): string {
  const ranked = PLANTS.toSorted((a, b) => rank(a.rule) - rank(b.rule));
  const rows = ranked.map(({ rule, name }) => {
    const { seed = "–", invariant = "not found" } = found.get(name) ?? {};
    return `| ${rule} | ${name.replaceAll("-", " ")} | ${seed} | ${invariant} |`;
  });
  return ["| Rule | Planted bug | Seed | What it breaks |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

/** What is no rule of the journal comes last. */
function rank(rule: string): number {
  return rule.startsWith("J") ? Number(rule.slice(1)) : Infinity;
}
