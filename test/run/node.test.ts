import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";
import { root, run } from "./process.ts";

it("every npm script that runs a file runs it under the project's Node", () => {
  const { scripts } = z
    .object({ scripts: z.record(z.string(), z.string()) })
    .parse(JSON.parse(readFileSync(join(root, "package.json"), "utf8")));
  const direct = Object.entries(scripts).filter(([, line]) => /(^|&& )node (?!\.node\/run\.cjs )/.test(line));
  expect(direct.map(([name]) => `${name}: put .node/run.cjs before the file`)).toEqual([]);
});

it("passes arguments and the exit code on", async () => {
  const { exitCode, output } = await run("node", [
    ".node/run.cjs",
    "test/run/vitest.ts",
    "unit",
    "no-such-test-file",
  ]);
  expect(output).toContain("0 passed, 1 failed");
  expect(exitCode).toBe(1);
});
