import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { root } from "../run/process.ts";
import { PLANTS } from "./plants.ts";

const run = promisify(execFile);
const TIMEOUT_MS = 300_000;

/** The simulator changes modules as they are loaded: it needs a process of its own. */
async function simulate(...options: readonly string[]): Promise<string> {
  const main = ["test/sim/main.ts", ...options];
  const { stdout } = await run(process.execPath, main, { cwd: root, maxBuffer: 10_000_000 }).catch(
    (error: unknown) => {
      const { stdout: text = "", stderr = "" } = error as {
        readonly stdout?: string;
        readonly stderr?: string;
      };
      throw new Error(`${text}${stderr}`, { cause: error });
    },
  );
  return stdout;
}

it(
  "keeps every promise in all schedules",
  async () => {
    // As many as fit beside everything else; .ci/run has all 10,000 on every push.
    const report = await simulate("--seeds", "10000", "--seconds", "5");
    process.stdout.write(`simulator: ${report}`);
    expect(report).toMatch(/^\d+ schedules in .*\n$/);
  },
  TIMEOUT_MS,
);

it(
  "finds every planted bug",
  async () => {
    const report = await simulate("--plants", "--seeds", "1000");
    for (const { name } of PLANTS)
      expect(report).toMatch(new RegExp(`^(J\\d+|I\\d+|list|skew) +${name} +seed \\d+: `, "m"));
  },
  TIMEOUT_MS,
);

it("has a page that names every planted bug", () => {
  const page = readFileSync(join(root, "docs/simulation.md"), "utf8");
  for (const { rule, name } of PLANTS)
    expect(page).toMatch(new RegExp(`^\\| ${rule} \\| ${name.replaceAll("-", " ")} \\| \\d+ \\|`, "m"));
});
