import { acceptRow, closedRow, idleRow, type Row, USUAL_ORDERS } from "./row.ts";
import { PEER_ROWS } from "./peers/rows.ts";
import { protocolRows } from "./protocols.ts";
import { runtimeRows } from "./runtime-steps.ts";
import { overloadRow, spikeRow } from "./surge.ts";
import type { SystemOptions } from "./system.ts";
import { watchersRow } from "./watchers.ts";

const LINES = (count: number) => ({ ...USUAL_ORDERS, lines: { min: count, max: count } });
const HOT = { ...USUAL_ORDERS, isHot: true };
/** A fraction of the records that a run touches, so that most of them have to be read again. */
const SMALL_CACHE = 200;

/** Everything of ours that is measured, in the order of the table. */
export const ROWS: readonly Row[] = [
  closedRow("closed-1", "closed", 1),
  closedRow("closed-16", "closed", 16),
  closedRow("closed-64", "closed", 64),
  closedRow("closed-256", "closed", 256),
  closedRow("hot-64", "hot", 64, HOT),
  closedRow("lines-1", "lines", 64, LINES(1)),
  closedRow("lines-3", "lines", 64, LINES(3)),
  acceptRow,
  spikeRow,
  overloadRow,
  watchersRow(10),
  watchersRow(100),
  watchersRow(1_000),
  ...protocolRows,
  ...runtimeRows,
  closedRow("logs-4", "logs", 64, USUAL_ORDERS, { logs: 4 }),
  closedRow("logs-16", "logs", 64, USUAL_ORDERS, { logs: 16 }),
  closedRow("workers-1", "workers", 64, USUAL_ORDERS, { provider: "http", workers: 1, logs: 4 }),
  closedRow("workers-4", "workers", 64, USUAL_ORDERS, { provider: "http", workers: 4, logs: 4 }),
  closedRow("small-cache", "cache", 64, USUAL_ORDERS, { recordsCachedMax: SMALL_CACHE }),
  idleRow,
];

/** How the system is set up, by the name that stands in the table. */
export const SETUPS: Readonly<Record<string, SystemOptions>> = {
  "r1-always": { syncInterval: "always", replicas: 1, provider: "memory", workers: 1 },
  "r1-always-http": { syncInterval: "always", replicas: 1, provider: "http", workers: 1 },
  "r1-default": { syncInterval: "2m", replicas: 1, provider: "memory", workers: 1 },
  "r3-always": { syncInterval: "always", replicas: 3, provider: "memory", workers: 1 },
  "r3-default": { syncInterval: "2m", replicas: 3, provider: "memory", workers: 1 },
};

/** The setup that every row runs on; on the others only those of COMPARED. */
export const HEADLINE = "r1-always";
export const COMPARED: readonly string[] = ["closed-1", "closed-64", "closed-256", "hot-64"];

/** A row on a setup. */
export interface Planned {
  readonly setup: string;
  readonly row: Row;
}

/**
 * What is measured. Without names: all rows on the headline setup, and those that compare on the others. With names,
 * of rows, groups or setups: those rows on those setups, on the headline setup where none is named.
 * @throws Error naming what there is, when a name is not among it
 */
export function plan(names: readonly string[]): readonly Planned[] {
  const all = [...ROWS, ...PEER_ROWS];
  const unknown = names.filter((name) => !(name in SETUPS) && !all.some((row) => isMeant(row, name)));
  if (unknown.length > 0) {
    const groups = [...new Set(all.map(({ group }) => group))];
    throw new Error(
      `there is no ${unknown.join(", ")}: choose rows of ${all.map(({ name }) => name).join(", ")}; ` +
        `groups of ${groups.join(", ")}, growth; setups of ${Object.keys(SETUPS).join(", ")}`,
    );
  }
  const setups = names.filter((name) => name in SETUPS);
  const rows = all.filter((row) => names.some((name) => isMeant(row, name)));
  if (names.length === 0) {
    const others = Object.keys(SETUPS).filter((setup) => setup !== HEADLINE);
    const compared = ROWS.filter(({ name }) => COMPARED.includes(name));
    return [
      ...ROWS.map((row) => ({ setup: HEADLINE, row })),
      ...others.flatMap((setup) => compared.map((row) => ({ setup, row }))),
    ];
  }
  const chosen = rows.length > 0 ? rows : ROWS.filter(({ name }) => COMPARED.includes(name));
  return (setups.length > 0 ? setups : [HEADLINE]).flatMap((setup) => chosen.map((row) => ({ setup, row })));
}

function isMeant({ name, group }: Row, wanted: string): boolean {
  return name === wanted || group === wanted;
}
