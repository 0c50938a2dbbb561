/**
 * The whole fault suite: `npm run faults`, or files of it: `npm run faults -- network store`, or tests: `-t poison`.
 * Ends with a table of all runs, and with exit code 1 if an invariant was broken. `FAULTS_REPORT` names a file that
 * keeps the rows: the table of a suite that was run in parts is that of all the parts.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startVitest } from "vitest/node";
import { root } from "../run/process.ts";
import { readRows, tableOf } from "./harness/fault-table.ts";

/** The longest run is the spree; most take less than one minute. */
const TEST_MS_MAX = 900_000;
const { values, positionals } = parseArgs({
  options: { "test-name-pattern": { type: "string", short: "t" } },
  allowPositionals: true,
});
const pattern = values["test-name-pattern"];
const scratch = mkdtempSync(join(tmpdir(), "tradewind-faults-report-"));
const report = (process.env["FAULTS_REPORT"] ??= join(scratch, "rows.jsonl"));
try {
  const vitest = await startVitest("test", positionals, {
    root,
    config: false,
    watch: false,
    include: ["test/faults/long/*.fault.ts"],
    fileParallelism: false,
    testTimeout: TEST_MS_MAX,
    hookTimeout: 120_000,
    disableConsoleIntercept: true,
    ...(pattern !== undefined && { testNamePattern: pattern }),
  });
  await vitest.close();
  const rows = readRows(report);
  if (rows.length > 0)
    process.stdout.write(`
${tableOf(rows)}`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
