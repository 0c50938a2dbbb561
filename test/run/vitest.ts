/**
 * Runs vitest and ends with the plain line `N passed, N failed`; any failure makes the exit code non-zero.
 * `node test/run/vitest.ts [unit|nats|sim|e2e] [vitest arguments]`; without a project name all of them run.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./process.ts";
import { summarize } from "./summary.ts";

const PROJECTS = new Set(["unit", "nats", "sim", "e2e"]);

const args = process.argv.slice(2);
const project = PROJECTS.has(args[0] ?? "") ? args.shift() : undefined;
const scratch = mkdtempSync(join(tmpdir(), "tradewind-test-"));
const report = join(scratch, "report.json");
try {
  const selected = project === undefined ? [] : ["--project", project];
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const { exitCode } = await run("vitest", ["run", ...selected, ...reporters, ...args], { live: true });
  const json: unknown = existsSync(report) ? JSON.parse(readFileSync(report, "utf8")) : undefined;
  const { passed, failed } = summarize(json, exitCode);
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
