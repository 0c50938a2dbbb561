/**
 * Brings `proto/gen` up to date with the .proto files; with `--check` it changes nothing and fails on any difference.
 * Files are written only where they differ, so a running test or watcher never sees the folder half empty.
 */
import { cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, run } from "./process.ts";

const GEN = "proto/gen";

function filesIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

const checkOnly = process.argv.includes("--check");
const scratch = mkdtempSync(join(tmpdir(), "tradewind-gen-"));
try {
  const generated = await run("buf", ["generate", "--output", scratch]);
  process.stdout.write(generated.output);
  if (generated.exitCode === 0) process.exitCode = sync(join(scratch, GEN), join(root, GEN));
  else process.exitCode = generated.exitCode;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

function sync(fresh: string, committed: string): number {
  const wanted = filesIn(fresh);
  const stale = filesIn(committed).filter((file) => !wanted.includes(file));
  const differing = wanted.filter((file) => {
    const target = join(committed, file);
    return !existsSync(target) || !readFileSync(target).equals(readFileSync(join(fresh, file)));
  });
  if (checkOnly) {
    for (const file of [...differing, ...stale])
      console.error(`${GEN}/${file} differs from its .proto file: run npm run gen`);
    return differing.length + stale.length > 0 ? 1 : 0;
  }
  for (const file of stale) rmSync(join(committed, file));
  for (const file of differing) cpSync(join(fresh, file), join(committed, file));
  console.log(`${GEN}: ${wanted.length} files, ${differing.length} written, ${stale.length} removed`);
  return 0;
}
