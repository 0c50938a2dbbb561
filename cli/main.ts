#!/usr/bin/env node
/** The `tradewind` command. */
import { enableCompileCache } from "node:module";

// Before anything else is loaded: it halves the time to the first line of output.
enableCompileCache();
const { runProgram } = await import("./program.ts");
try {
  await runProgram(process.argv.slice(2), process.env);
} catch (error) {
  const { exitCode = 1 } = error as { exitCode?: number };
  const isExpected = error instanceof Error && "exitCode" in error;
  if (isExpected) process.stderr.write(`tradewind: ${error.message}\n`);
  else
    process.stderr.write(
      `tradewind: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
  process.exit(exitCode);
}
