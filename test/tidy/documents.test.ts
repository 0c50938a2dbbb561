import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { defineConfig } from "../../platform/config.ts";
import { root } from "../run/process.ts";
import {
  allDocuments,
  allSettings,
  commandViolations,
  referenceViolations,
  settingsNames,
  shellCommands,
  strayedSettings,
  withSettings,
} from "./documents.ts";
import { allSources } from "./sources.ts";

const Manifest = z.object({ scripts: z.record(z.string(), z.string()) });
const scripts = Object.keys(
  Manifest.parse(JSON.parse(readFileSync(join(root, "package.json"), "utf8"))).scripts,
);
const readme = { path: "README.md", text: readFileSync(join(root, "README.md"), "utf8") };

describe("documents", () => {
  it("link only to what exists, and name only scripts that exist", () => {
    expect(allDocuments().flatMap((document) => referenceViolations(document, scripts))).toEqual([]);
  });

  it("README: every command is run by a test", () => {
    expect(shellCommands(readme)).not.toHaveLength(0);
    expect(commandViolations(readme)).toEqual([]);
  });

  it("docs/operations.md: every metric of every role has its row, and no other", () => {
    const page = readFileSync(join(root, "docs/operations.md"), "utf8");
    const told = new Set(page.match(/(?<=`)tradewind_[a-z_]+/g));
    const made = allSources()
      .filter(({ path }) => !/^(test|bench|platform)\/|\.test\.ts$/.test(path))
      .flatMap(({ text }) => text.match(/(?<=")tradewind_[a-z_]+(?=")/g) ?? []);
    expect([...told].toSorted()).toEqual([...new Set(made)].toSorted());
  });

  it("every setting of every role is in a table that says what the code says (npm run docs)", async () => {
    expect(strayedSettings(allSources())).toEqual([]);
    const settings = await allSettings();
    const documents = allDocuments();
    const shown = documents.flatMap(({ text }) => settingsNames(text));
    expect(shown.toSorted()).toEqual(settings.map(({ name }) => name).toSorted());
    for (const { path, text } of documents) expect(withSettings(text, settings), path).toBe(text);
  });
});

describe("the checks of documents", () => {
  const block = (lines: string) => `\`\`\`sh\n${lines}\n\`\`\`\n`;
  const table = (...rows: string[]) => `| Command | Run by |\n| --- | --- |\n${rows.join("\n")}\n`;
  const violations = (text: string) => commandViolations({ path: "README.md", text });

  it("join continued lines and leave comments out", () => {
    const text = block("# first\n$ npm ci\ncurl -N \\\n  http://localhost");
    expect(shellCommands({ path: "a.md", text })).toEqual(["npm ci", "curl -N http://localhost"]);
  });

  it("see a command without a row, a row without a command, and a test that does not run it", () => {
    expect(violations(block("npm ci"))).toEqual([expect.stringContaining("no row")]);
    expect(violations(table("| `npm ci` | `.ci/run` |"))).toEqual([expect.stringContaining("belongs to no")]);
    const unproved = block("npm fund") + table("| `npm fund` | `.ci/run` |");
    expect(violations(unproved)).toEqual([expect.stringContaining("does not run")]);
    expect(violations(block("npm ci") + table("| `npm ci` | `.ci/run` |"))).toEqual([]);
  });

  it("see a dead link and an unknown script", () => {
    const text = "[a](docs/nowhere.md) [b](https://example.com) `npm run nothing`";
    expect(referenceViolations({ path: "README.md", text }, ["check"])).toHaveLength(2);
  });

  it("put a settings table in its place", () => {
    const definition = defineConfig({
      port: { env: "PORT", type: "integer", default: 8080, description: "Port." },
    });
    const text = "a\n<!-- settings: x/config.ts#x -->\nold\n<!-- end -->\nb";
    const filled = withSettings(text, [{ name: "x/config.ts#x", definition }]);
    expect(filled).toContain("| `PORT` | integer | `8080` |");
    expect(withSettings(filled, [{ name: "x/config.ts#x", definition }])).toBe(filled);
  });
});
