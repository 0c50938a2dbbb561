import { appendFileSync, existsSync, readFileSync } from "node:fs";

/** What one run showed. */
export interface FaultRow {
  readonly name: string;
  /** `R1` or `R3`. */
  readonly servers: string;
  /** How often the fault was injected. */
  readonly faults: number;
  readonly orders: number;
  /** The most orders that were under way when a fault began. */
  readonly inFlight: number;
  readonly violations: readonly string[];
  /** Of each fault: until the last order of the seconds around it was settled. */
  readonly recoveryMs: readonly number[];
  /** Why the run broke off, which is no violation but no proof either. */
  readonly failure?: string;
}

/** Columns of violations, by the words of those who blame; what fits none is counted as `other`. */
const COLUMNS: readonly (readonly [column: string, words: RegExp])[] = [
  ["stuck", /is stuck|open authorisation|reserved [1-9]\d*; /],
  ["oversold", /oversold|^stock of /],
  ["doubled", /two orders|has the orders|belongs to the keys|\d+ times|told twice|answered order|paid back/],
  ["lost", /cannot be read|is missing|was not told|never accepted|never charged|was refused|is no order/],
];

/** The column that a violation is counted in. */
export function columnOf(violation: string): string {
  return COLUMNS.find(([, words]) => words.test(violation))?.[0] ?? "other";
}

/** Appends a row to the file that `FAULTS_REPORT` names; nothing without it. */
export function keepRow(row: FaultRow): void {
  const file = process.env["FAULTS_REPORT"];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(row)}\n`);
}

/** Rows of a file that `keepRow` wrote; of runs with the same name and servers the newest. */
export function readRows(file: string): readonly FaultRow[] {
  if (!existsSync(file)) return [];
  const rows = new Map<string, FaultRow>();
  for (const line of readFileSync(file, "utf8").split("\n").filter(Boolean)) {
    const row = JSON.parse(line) as FaultRow;
    rows.set(`${row.servers} ${row.name}`, row);
  }
  // What one fault does to one server and to three stands together.
  const names = new Set([...rows.values()].map(({ name }) => name));
  return [...names].flatMap((name) => [...rows.values()].filter((row) => row.name === name));
}

/** A Markdown table, one line for each row and one for all of them. */
export function tableOf(rows: readonly FaultRow[]): string {
  const head = [
    "fault",
    "servers",
    "times",
    "orders",
    "in flight",
    "lost",
    "doubled",
    "stuck",
    "oversold",
    "other",
  ];
  const lines = rows.map((row) => [row.name, row.servers, ...figuresOf([row])]);
  const all = [["all", "", ...figuresOf(rows)]];
  return [[...head, "recovery"], head.map(() => "---").concat("---"), ...lines, ...all]
    .map((cells) => `| ${cells.join(" | ")} |\n`)
    .join("");
}

function figuresOf(rows: readonly FaultRow[]): string[] {
  const sum = (figure: (row: FaultRow) => number) => rows.reduce((total, row) => total + figure(row), 0);
  const broken = (column: string) =>
    sum(({ violations }) => violations.filter((each) => columnOf(each) === column).length);
  const recoveries = rows.flatMap(({ recoveryMs }) => recoveryMs).toSorted((a, b) => a - b);
  const longest = recoveries.at(-1) ?? 0;
  const failures = rows.filter(({ failure }) => failure !== undefined).length;
  const counts = [sum(({ faults }) => faults), sum(({ orders }) => orders)];
  const inFlight = Math.max(0, ...rows.map((row) => row.inFlight));
  return [
    ...[...counts, inFlight, ...["lost", "doubled", "stuck", "oversold", "other"].map(broken)].map(String),
    `${(longest / 1_000).toFixed(1)} s${failures > 0 ? `, ${failures} broke off` : ""}`,
  ];
}
