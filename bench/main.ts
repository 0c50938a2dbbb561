/**
 * `npm run bench`: what the system does and what it costs, each row on a system of its own. Prints one table and
 * appends it to bench/history. A run after which the books are not clean does not count.
 *
 *     npm run bench                                everything, on the headline setup and in comparison
 *     npm run bench -- --only closed-64,r3-always  rows, groups of rows, setups (or --rows, or bare)
 *     npm run bench -- --repeat 3                  medians of three
 *     npm run bench -- --only growth               memory, bytes per order, restart times as the orders grow
 *     npm run bench -- --only growth --records-cached 1000   the same with small caches
 *     npm run bench -- --only peers                another system with the same orders, docs/decisions/0003
 *     npm run bench -- --list                      what there is
 */
import { parseArgs } from "node:util";
import { grouped, processTerminal } from "../cli/terminal.ts";
import { runGrowth } from "./growth.ts";
import { keep } from "./history.ts";
import { loadAverage } from "./machine.ts";
import { PEER_ROWS } from "./peers/rows.ts";
import { HEADLINE, plan, ROWS, SETUPS } from "./rows.ts";
import { runSuite, type SuiteResult } from "./suite.ts";
import { messageTable, resultTable } from "./table.ts";

const SECONDS = 8;
const SECONDS_QUICK = 1.5;
const GROWTH_ORDERS = 200_000;
const GROWTH_ORDERS_QUICK = 2_000;
/** Above it something else is at work, and figures say little. */
const LOAD_MAX = 0.5;
const GROWTH = "growth";

const { values: flags, positionals } = parseArgs({
  options: {
    /** Rows, groups, setups, separated by commas. */
    rows: { type: "string", multiple: true, default: [] },
    only: { type: "string", multiple: true, default: [] },
    repeat: { type: "string", default: "1" },
    /** Length of the measured part of a row. */
    seconds: { type: "string" },
    /** Short rows: to see that it works. */
    quick: { type: "boolean", default: false },
    /** Orders of `growth`, and the records that its worker keeps in memory for each log. */
    orders: { type: "string" },
    "records-cached": { type: "string" },
    list: { type: "boolean", default: false },
    /** Keeps the result out of bench/history. */
    "no-history": { type: "boolean", default: false },
  },
  allowPositionals: true,
});

const terminal = processTerminal();
const abort = new AbortController();
process.once("SIGINT", () => abort.abort()).once("SIGTERM", () => abort.abort());
const names = [...flags.rows, ...flags.only, ...positionals].flatMap((text) => text.split(","));
const seconds = Number(flags.seconds ?? (flags.quick ? SECONDS_QUICK : SECONDS));
const isKept = !flags["no-history"];

function list(): void {
  for (const { name, about } of [...ROWS, ...PEER_ROWS]) terminal.out(`${name.padEnd(22)} ${about}`);
  terminal.out(
    `${GROWTH.padEnd(22)} memory, bytes per order and restart times over ${grouped(GROWTH_ORDERS)} orders`,
  );
  for (const [name, { syncInterval, replicas, provider }] of Object.entries(SETUPS))
    terminal.out(
      `${name.padEnd(22)} sync_interval ${syncInterval}, ${replicas} server(s), provider ${provider}`,
    );
}

/** @returns true if every run counts and nothing failed in it */
function report({ entries, circumstances }: SuiteResult): boolean {
  const { machine, loadBefore, loadAfter, versions } = circumstances;
  const servers = Object.entries(versions).map(([name, version]) => `, ${name} ${version}`);
  terminal.status("");
  terminal.out(
    `\n${machine.cores} × ${machine.cpu}, one sync ${machine.syncMs} ms, load average ${loadBefore} before and ` +
      `${loadAfter} after, node ${process.versions.node}${servers.join("")}, ${seconds} s a row`,
  );
  const rows = entries.map(({ setup, row, median, runs }) => ({
    name: `${setup} ${row}`,
    figures: median,
    runs: runs.length,
  }));
  for (const line of [...resultTable(rows), "", ...messageTable(rows)]) terminal.out(line);
  for (const { setup, row, dropped } of entries)
    for (const why of dropped) terminal.out(`${setup} ${row} does not count: ${why}`);
  return entries.every(({ median, dropped }) => dropped.length === 0 && (median["failed"] ?? 0) === 0);
}

if (flags.list) {
  list();
} else {
  const load = loadAverage();
  if (load > LOAD_MAX)
    terminal.note(`the machine is busy, load average ${load}: compare nothing with figures of this run`);
  const rest = names.filter((name) => name !== GROWTH);
  if (names.includes(GROWTH)) {
    const orders = Number(flags.orders ?? (flags.quick ? GROWTH_ORDERS_QUICK : GROWTH_ORDERS));
    const setup = rest.find((name) => name in SETUPS) ?? HEADLINE;
    const cached = flags["records-cached"];
    const cache = cached === undefined ? {} : { recordsCachedMax: Number(cached) };
    const isClean = await runGrowth({ orders, setup, ...cache, isKept, signal: abort.signal, terminal });
    if (!isClean) process.exitCode = 1;
  }
  if (rest.some((name) => !(name in SETUPS)) || !names.includes(GROWTH)) {
    const planned = plan(rest);
    for (const what of new Set(planned.flatMap(({ row }) => row.missing?.() ?? []))) terminal.note(what);
    const result = await runSuite({
      planned: planned.filter(({ row }) => row.missing?.() === undefined),
      repeat: Number(flags.repeat),
      seconds,
      signal: abort.signal,
      status: (line) => terminal.status(line),
      note: (line) => terminal.note(line),
    });
    if (result.entries.length > 0 && !report(result)) process.exitCode = 1;
    if (isKept && result.entries.length > 0)
      keep("rows", result.circumstances, { isQuick: flags.quick, entries: result.entries });
  }
}
process.exit();
