import { globSync, readFileSync } from "node:fs";
import { type ESTree, parseSync, Visitor } from "vite";
import { root } from "../run/process.ts";

/** One TypeScript file of ours, parsed. Offsets of `program` and `comments` count from the start of `text`. */
export interface Source {
  /** From the root folder, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly program: ESTree.Program;
  readonly comments: readonly { readonly value: string; readonly start: number; readonly end: number }[];
  /** Specifiers of every import and re-export, static or dynamic, and whether only types cross. */
  readonly imports: readonly { readonly specifier: string; readonly start: number }[];
}

const TOP_FOLDERS = ["platform", "actors", "gateway", "cli", "k8s", "k6", "web", "bench", "test"];

/** Every `.ts` and `.tsx` file of ours; what is generated or installed is not ours. */
export function allSources(): Source[] {
  const paths = TOP_FOLDERS.flatMap((folder) => globSync(`${folder}/**/*.{ts,tsx}`, { cwd: root }));
  const ours = paths
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => !/(^|\/)(node_modules|dist)\//.test(path));
  return ours.toSorted().map((path) => parseSource(path, readFileSync(`${root}/${path}`, "utf8")));
}

/** Parses a text as if it stood at `path`; rules are tried on planted violations this way. */
export function parseSource(path: string, text: string): Source {
  const { program, module, comments } = parseSync(path, text);
  const imports: { specifier: string; start: number }[] = [];
  for (const { moduleRequest, start } of module.staticImports)
    imports.push({ specifier: moduleRequest.value, start });
  for (const { entries } of module.staticExports) {
    const from = entries.find(({ moduleRequest }) => moduleRequest !== null);
    if (from?.moduleRequest) imports.push({ specifier: from.moduleRequest.value, start: from.start });
  }
  new Visitor({
    ImportExpression({ source, start }) {
      if (source.type === "Literal") imports.push({ specifier: String(source.value), start });
    },
  }).visit(program);
  return { path, text, program, comments, imports };
}

/** `path:line` of an offset, as editors and terminals open it. */
export function at({ path, text }: Source, offset: number): string {
  return `${path}:${text.slice(0, offset).split("\n").length}`;
}
