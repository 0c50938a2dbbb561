import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { root, run } from "../run/process.ts";

const PAGE = "docs/writing-an-actor.md";
const TIMEOUT_MS = 60_000;

/** A checkout in small: what is linked is ours, what is written comes from the page. */
const LINKED = [
  "actors/runtime",
  "platform",
  "proto/gen/tradewind/actors/runtime",
  "proto/gen/tradewind/actors/sample",
  "proto/vendor",
  "node_modules",
  "buf.yaml",
];

let folder: string;
let files: readonly (readonly [path: string, text: string])[];

beforeAll(() => {
  const page = readFileSync(join(root, PAGE), "utf8");
  files = [...page.matchAll(/^```\w+ file=(\S+)\n([\s\S]*?)^```$/gm)].map(([, path = "", text = ""]) => [
    path,
    text,
  ]);
  folder = mkdtempSync(join(tmpdir(), "tradewind-tutorial-"));
  for (const path of LINKED) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    symlinkSync(join(root, path), join(folder, path));
  }
  for (const [path, text] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  mkdirSync(join(folder, "proto/api"));
  const tsconfig = { extends: join(root, "tsconfig.json"), include: ["actors/voucher/*.ts", "test/*.ts"] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(tsconfig));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

it(
  "the page about writing an actor works as it is written",
  async () => {
    expect(files).toHaveLength(4);
    const actors = join(folder, "proto/actors/tradewind");
    for (const command of [
      ["buf", "lint", folder, "--path", actors],
      [
        "buf",
        "generate",
        folder,
        "--template",
        join(root, "buf.gen.yaml"),
        "--path",
        actors,
        "--output",
        folder,
      ],
      ["tsc", "-p", folder],
      ["vitest", "run", "--root", folder, "--dir", join(folder, "actors/voucher")],
    ]) {
      const [program = "", ...args] = command;
      const { exitCode, output } = await run(program, args);
      expect(exitCode, `${program}:\n${output}`).toBe(0);
    }
  },
  TIMEOUT_MS,
);
