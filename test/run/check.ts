/** Everything that must hold at every commit, cheapest first. All steps run, so one start shows every problem. */
import { run } from "./process.ts";

const STEPS: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ["proto lint", "buf", "lint"],
  ["proto/api format", "buf", "format", "--diff", "--exit-code", "proto/api"],
  ["proto/actors format", "buf", "format", "--diff", "--exit-code", "proto/actors"],
  ["proto drift", "node", "test/run/gen.ts", "--check"],
  ["types", "tsc"],
  ["types of k6", "tsc", "-p", "k6"],
  ["lint", "oxlint"],
  ["format", "oxfmt", "--check"],
  ["unit and tidy tests", "node", "test/run/vitest.ts", "unit"],
];

const failed: string[] = [];
for (const [name, command, ...args] of STEPS) {
  const startedAt = performance.now();
  const { exitCode, output } = await run(command, args);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${exitCode === 0 ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
  if (exitCode === 0) continue;
  failed.push(name);
  console.log(output);
}
if (failed.length > 0) {
  console.log(`check failed: ${failed.join(", ")}`);
  process.exitCode = 1;
}
