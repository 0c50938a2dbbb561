import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { root } from "../run/process.ts";
import { undocumentedExports } from "./doors.ts";
import { parseSource } from "./sources.ts";

const DOORS = ["actors/runtime/index.ts"];

describe("doors", () => {
  it.each(DOORS)("%s passes on documented names only", (path) => {
    expect(undocumentedExports(parseSource(path, readFileSync(join(root, path), "utf8")))).toEqual([]);
  });

  it("are checked name by name", () => {
    const declared = [
      "/** Bound: 5. */\nexport const a = 1;",
      "// no contract\nexport type B = 1;",
      "/** Kept. */\n\nexport function c(): void;\nexport function c(x?: number): void {}",
    ].join("\n");
    const read = (path: string) => parseSource(path, declared);
    const violations = (text: string) =>
      undocumentedExports(parseSource("actors/runtime/index.ts", text), read);
    expect(violations(`export { a, c } from "./x.ts";`)).toEqual([]);
    expect(violations(`export type { B } from "./x.ts";`)).toEqual([
      expect.stringContaining("x.ts:4 B has no contract"),
    ]);
    expect(violations(`export { gone } from "./x.ts";`)).toEqual([
      expect.stringContaining("does not declare gone"),
    ]);
    expect(violations(`export * from "./x.ts";`)).toEqual([expect.stringContaining("list the names")]);
  });
});
