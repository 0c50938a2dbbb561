/**
 * The whole fault suite: `npm run faults`, or files of it: `npm run faults -- network store`, or tests: `-t poison`.
 * Ends with the lines that the runs printed, and with exit code 1 if an invariant was broken.
 */
import { mkdtempSync, existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startVitest } from "vitest/node";
import { root } from "../run/process.ts";

/** The longest run is the spree; most take less than one minute. */
const TEST_MS_MAX = 900_000;
const { values, positionals } = parseArgs({
  options: { "test-name-pattern": { type: "string", short: "t" } },
  allowPositionals: true,
});
const pattern = values["test-name-pattern"];
const scratch = mkdtempSync(join(tmpdir(), "tradewind-faults-report-"));
process.env["FAULTS_REPORT"] = join(scratch, "report.txt");
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
  const report = process.env["FAULTS_REPORT"];
  if (existsSync(report)) process.stdout.write(`\n${readFileSync(report, "utf8")}`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
