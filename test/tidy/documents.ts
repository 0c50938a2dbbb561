import { existsSync, globSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { type ConfigDefinition, configTable } from "../../platform/config.ts";
import { root } from "../run/process.ts";
import { allSources, type Source } from "./sources.ts";

/** One Markdown file of ours. */
export interface Document {
  readonly path: string;
  readonly text: string;
}

/** README, CONTRIBUTING, CHANGELOG and everything under docs/. */
export function allDocuments(): Document[] {
  const paths = globSync(["*.md", "docs/**/*.md", "{k8s,k6,bench}/**/*.md"], {
    cwd: root,
    exclude: ["**/node_modules/**"],
  });
  return paths.toSorted().map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
}

/** Command lines of the fenced ```sh blocks: continued lines joined, comments and a leading `$ ` dropped. */
export function shellCommands({ text }: Document): string[] {
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, body = ""]) => body);
  const lines = blocks.flatMap((body) => body.replaceAll(/\s*\\\n\s*/g, " ").split("\n"));
  return lines
    .map((line) => line.replace(/^\$ /, "").trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

/** A row of a table whose last column is `Run by`. `…` in the command stands for any text. */
export interface CommandRow {
  readonly command: string;
  readonly runBy: string;
}

/** Rows of every table headed `| Command | … | Run by |`, cells without their backticks. */
export function commandTable({ text }: Document): CommandRow[] {
  const rows: CommandRow[] = [];
  let inside = false;
  for (const line of text.split("\n")) {
    const cells = line.startsWith("|")
      ? line
          .slice(1, line.lastIndexOf("|"))
          .split("|")
          .map((cell) => cell.trim())
      : [];
    if (cells.length === 0) inside = false;
    else if (cells[0] === "Command" && cells.at(-1) === "Run by") inside = true;
    else if (inside && !/^:?-+:?$/.test(cells[0] ?? ""))
      rows.push({ command: bare(cells[0]), runBy: bare(cells.at(-1)) });
  }
  return rows;
}

function bare(cell = ""): string {
  return cell.replaceAll("`", "").trim();
}

function matches(row: CommandRow, command: string): boolean {
  const parts = row.command.split("…").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(command);
}

/**
 * A reader copies what stands in a ```sh block, so each such command has a row that names the test which runs it, and
 * that test names the command, or reads the commands out of the document itself.
 */
export function commandViolations(document: Document): string[] {
  const commands = shellCommands(document);
  const rows = commandTable(document);
  const missing = commands.filter((command) => !rows.some((row) => matches(row, command)));
  const idle = rows.filter((row) => !commands.some((command) => matches(row, command)));
  const unproved = rows.filter(({ command, runBy }) => {
    const file = join(root, runBy);
    if (!existsSync(file)) return true;
    const text = readFileSync(file, "utf8");
    return !text.includes(command) && !text.includes(posix.basename(document.path));
  });
  return [
    ...missing.map((command) => `${document.path}: "${command}" has no row in a "Run by" table`),
    ...idle.map(({ command }) => `${document.path}: the row "${command}" belongs to no \`\`\`sh block`),
    ...unproved.map(({ command, runBy }) => `${document.path}: "${runBy}" does not run "${command}"`),
  ];
}

/** Relative links that lead nowhere, and `npm run` names that package.json does not have. */
export function referenceViolations(document: Document, scripts: readonly string[]): string[] {
  const { path, text } = document;
  const links = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, target = ""]) => target);
  const dead = links.filter(
    (target) => !/^[a-z]+:/.test(target) && !existsSync(join(root, posix.dirname(path), target)),
  );
  const names = [...text.matchAll(/\bnpm run (?:--silent |-s )?([a-z][\w:-]*)/g)].map(
    ([, name = ""]) => name,
  );
  const unknown = names.filter((name) => !scripts.includes(name));
  return [
    ...dead.map((target) => `${path} links to ${target}, which does not exist`),
    ...unknown.map((name) => `${path} names npm run ${name}, which package.json does not have`),
  ];
}

/** Settings of one role, as `defineConfig` made them, and where: `gateway/config.ts#gatewaySettings`. */
export interface RoleSettings {
  readonly name: string;
  readonly definition: ConfigDefinition;
}

/** Where settings may be declared: platform's shared ones are spread into those of a role, which is what is shown. */
const SETTINGS_FILE = /^(?!platform\/)(?:.*\/)?(?:config|[a-z-]+-config)\.ts$/;

/** Every definition exported by a role's `config.ts` or `x-config.ts`, by importing it. */
export async function allSettings(): Promise<RoleSettings[]> {
  const found: RoleSettings[] = [];
  for (const { path } of allSources().filter(({ path: candidate }) => SETTINGS_FILE.test(candidate))) {
    const module = (await import(join(root, path))) as Record<string, unknown>;
    for (const [key, value] of Object.entries(module)) {
      if (isDefinition(value)) found.push({ name: `${path}#${key}`, definition: value });
    }
  }
  return found;
}

/** Files that declare settings where neither the tables nor a reader look for them. */
export function strayedSettings(sources: readonly Source[]): string[] {
  const declaring = sources.filter(({ text }) => /\bdefineConfig\(\{/.test(text));
  const stray = declaring.filter(
    ({ path }) => !SETTINGS_FILE.test(path) && !/^(platform|test)\/|\.test\.ts$|^web\//.test(path),
  );
  return stray.map(({ path }) => `${path} declares settings: move them to a config.ts beside it`);
}

function isDefinition(value: unknown): value is ConfigDefinition {
  if (typeof value !== "object" || value === null) return false;
  const settings: unknown[] = Object.values(value);
  return (
    settings.length > 0 &&
    settings.every((it) => typeof it === "object" && it !== null && "env" in it && "type" in it)
  );
}

const TABLE = /(<!-- settings: (\S+) -->\n)([\s\S]*?)(<!-- end -->)/g;

/** Puts the table of each `<!-- settings: file#export -->` … `<!-- end -->` in its place again. */
export function withSettings(text: string, settings: readonly RoleSettings[]): string {
  return text.replaceAll(TABLE, (whole: string, head: string, name: string, _old: string, tail: string) => {
    const role = settings.find((it) => it.name === name);
    return role === undefined ? whole : `${head}\n${configTable(role.definition)}\n\n${tail}`;
  });
}

/** Names of the settings tables of a text. */
export function settingsNames(text: string): string[] {
  return [...text.matchAll(TABLE)].map(([, , name = ""]) => name);
}
