import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, run } from "../../run/process.ts";

const PARTS = ["actors", "cli", "gateway", "platform", "proto", "package.json", "buf.yaml", "buf.gen.yaml"];

/** One change of the source: the text that is replaced must be there. */
export interface Edit {
  readonly path: string;
  readonly find: string;
  readonly replace: string;
}

/** A build with another contract, in a folder of its own. */
export interface OtherBuild extends Disposable {
  readonly codeRoot: string;
}

/** Copies the source, edits it, and generates its messages anew. */
export async function otherBuild(edits: readonly Edit[]): Promise<OtherBuild> {
  const codeRoot = mkdtempSync(join(tmpdir(), "tradewind-build-"));
  const build = { codeRoot, [Symbol.dispose]: () => rmSync(codeRoot, { recursive: true, force: true }) };
  try {
    for (const part of PARTS) cpSync(join(root, part), join(codeRoot, part), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(codeRoot, "node_modules"));
    for (const { path, find, replace } of edits) {
      const file = join(codeRoot, path);
      const text = readFileSync(file, "utf8");
      if (!text.includes(find))
        throw new Error(`${path} has no ${find}: the edit of this test is out of date`);
      writeFileSync(file, text.replace(find, replace));
    }
    const { exitCode, output } = await run("buf", [
      "generate",
      codeRoot,
      "--template",
      join(root, "buf.gen.yaml"),
      "--output",
      codeRoot,
    ]);
    if (exitCode !== 0) throw new Error(`buf generate failed: ${output}`);
    return build;
  } catch (error) {
    build[Symbol.dispose]();
    throw error;
  }
}
