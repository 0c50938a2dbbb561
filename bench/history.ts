import { appendFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Figures } from "./measure.ts";
import { commitName, type Machine } from "./machine.ts";

/** Runs of one row on one setup. */
export interface Entry {
  readonly setup: string;
  readonly row: string;
  readonly about: string;
  readonly median: Figures;
  readonly runs: readonly Figures[];
  /** Why runs do not count. */
  readonly dropped: readonly string[];
}

/** What stands around the figures. */
export interface Circumstances {
  readonly machine: Machine;
  readonly loadBefore: number;
  readonly loadAfter: number;
  /** Of the servers, by their names. */
  readonly versions: Readonly<Record<string, string>>;
  readonly seconds: number;
}

/** Appends one line to a file of bench/history. Infinity becomes null. */
export function keep(
  file: string,
  { machine, loadBefore, loadAfter, versions, seconds }: Circumstances,
  what: Readonly<Record<string, unknown>>,
): void {
  const line = {
    time: new Date().toISOString(),
    commit: commitName(),
    machine,
    loadAverage: { before: loadBefore, after: loadAfter },
    versions: { node: process.versions.node, ...versions },
    seconds,
    ...what,
  };
  const folder = join(import.meta.dirname, "history");
  mkdirSync(folder, { recursive: true });
  appendFileSync(join(folder, `${file}.jsonl`), `${JSON.stringify(line)}\n`);
}
