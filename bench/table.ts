import { milliseconds } from "../cli/latency.ts";
import { grouped, table } from "../cli/terminal.ts";
import type { Figures } from "./measure.ts";

/** One line of the table. */
export interface TableRow {
  readonly name: string;
  readonly figures: Figures;
  /** Runs that count. */
  readonly runs: number;
}

interface Column {
  readonly head: string;
  readonly of: (figures: Figures) => string | undefined;
}

const column = (head: string, name: string, form: (value: number) => string): Column => ({
  head,
  of: (figures) => (figures[name] === undefined ? undefined : form(figures[name])),
});
const cpu = (value: number) => value.toFixed(3);
/** Cores of others above which a row says so. */
const OTHERS_MIN = 0.1;

const COLUMNS: readonly Column[] = [
  column("per s", "ordersPerSecond", grouped),
  column("p50 ms", "p50Ms", milliseconds),
  column("p99 ms", "p99Ms", milliseconds),
  column("max ms", "maxMs", milliseconds),
  column("failed", "failed", grouped),
  column("unknown", "unknown", grouped),
  column("CPU-s/1,000", "cpu", cpu),
  column("worker", "cpu.worker", cpu),
  column("projection", "cpu.projection", cpu),
  column("gateway", "cpu.gateway", cpu),
  column("nats", "cpu.nats", cpu),
  column("peer", "cpu.peer", cpu),
  column("postgres", "cpu.postgres", cpu),
  column("generator", "cpu.generator", cpu),
  column("PSS MiB", "memoryMiB", grouped),
];

/** Figures that have a column, or are not for people. */
const SHOWN =
  /^(ordersPerSecond|orders|p50Ms|p99Ms|maxMs|failed|unknown|cpu(\..*)?|memoryMiB(\..*)?|perOrder\..*|othersCores)$/;

/** One table of all rows; what has no column stands at the end of its line. */
export function resultTable(rows: readonly TableRow[]): string[] {
  const used = COLUMNS.filter(({ of }) => rows.some(({ figures }) => of(figures) !== undefined));
  const lines = table([
    ["run", "runs", ...used.map(({ head }) => head)],
    ...rows.map(({ name, figures, runs }) => [
      name,
      String(runs),
      ...used.map(({ of }) => of(figures) ?? "–"),
    ]),
  ]);
  return lines.map((line, at) => {
    const row = rows[at - 1];
    return row === undefined ? line : `${line}${more(row.figures)}`;
  });
}

const MESSAGES = /^perOrder\./;

/** Messages of one order: those that servers get and send, and those stored in each stream; empty without any. */
export function messageTable(rows: readonly TableRow[]): string[] {
  const counted = rows.filter(({ figures }) => Object.keys(figures).some((name) => MESSAGES.test(name)));
  const names = [...new Set(counted.flatMap(({ figures }) => Object.keys(figures)))].filter((name) =>
    MESSAGES.test(name),
  );
  if (counted.length === 0) return [];
  return table([
    ["messages per order", ...names.map((name) => name.replace(MESSAGES, ""))],
    ...counted.map(({ name, figures }) => [name, ...names.map((each) => figures[each]?.toFixed(2) ?? "–")]),
  ]);
}

/** `  backlog max 60, gone 20 ms`, and a word where others used the machine meanwhile. */
export function more(figures: Figures): string {
  const parts = Object.entries(figures)
    .filter(([name]) => !SHOWN.test(name))
    .map(([name, value]) => named(name, value));
  const others = figures["othersCores"] ?? 0;
  if (others >= OTHERS_MIN) parts.push(`disturbed: ${others.toFixed(1)} cores busy with something else`);
  return parts.length === 0 ? "" : `  ${parts.join(", ")}`;
}

const UNITS: readonly (readonly [end: RegExp, unit: string])[] = [
  [/Ms$/, " ms"],
  [/Us$/, " µs"],
  [/MiB$/, " MiB"],
  [/KiB$/, " KiB"],
  [/Bytes$/, " B"],
  [/PerSecond$/, "/s"],
  [/Percent$/, " %"],
];

/** `backlogMax`, 60 → `backlog max 60`; `goneMs`, 20 → `gone 20 ms`. */
function named(name: string, value: number): string {
  const [, main = name, part] = /^([^.]*)(?:\.(.*))?$/.exec(name) ?? [];
  const [end, unit] = UNITS.find(([pattern]) => pattern.test(main)) ?? [/$/, ""];
  const words = main.replace(end, "").replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  const number = Number.isFinite(value) ? grouped2(value) : "never";
  return `${words}${part === undefined ? "" : ` ${part}`} ${number}${Number.isFinite(value) ? unit : ""}`;
}

function grouped2(value: number): string {
  return Math.abs(value) >= 100 ? grouped(value) : String(Math.round(value * 100) / 100);
}
