import { readFileSync } from "node:fs";
import { join, posix } from "node:path";
import type { ESTree } from "vite";
import { root } from "../run/process.ts";
import { at, parseSource, type Source } from "./sources.ts";

type Read = (path: string) => Source;

const fromDisk: Read = (path) => parseSource(path, readFileSync(join(root, path), "utf8"));

/** What a door exports without a contract comment where it is declared. A door lists names; it never says `*`. */
export function undocumentedExports(door: Source, read: Read = fromDisk): string[] {
  return door.program.body.flatMap((node) => {
    if (node.type === "ExportAllDeclaration") return [`${at(door, node.start)} exports *: list the names`];
    if (node.type !== "ExportNamedDeclaration") return [];
    if (node.source === null)
      return [`${at(door, node.start)} declares something: a door only passes names on`];
    const target = read(posix.join(posix.dirname(door.path), node.source.value));
    return node.specifiers.flatMap(({ local }) => undocumented(target, nameOf(local)));
  });
}

function undocumented(source: Source, name: string): string[] {
  const declarations = source.program.body.filter(
    (node) => node.type === "ExportNamedDeclaration" && declaredNames(node).includes(name),
  );
  const [first] = declarations;
  if (first === undefined) return [`${source.path} does not declare ${name} with export`];
  if (declarations.some((node) => hasContract(source, node.start))) return [];
  return [
    `${at(source, first.start)} ${name} has no contract comment: say unit, bound, errors in one sentence`,
  ];
}

function hasContract({ text, comments }: Source, start: number): boolean {
  return comments.some(
    ({ value, end }) => value.startsWith("*") && end <= start && text.slice(end, start).trim() === "",
  );
}

function declaredNames({ declaration }: ESTree.ExportNamedDeclaration): string[] {
  if (declaration === null) return [];
  if (declaration.type === "VariableDeclaration") {
    return declaration.declarations.flatMap(({ id }) => (id.type === "Identifier" ? [id.name] : []));
  }
  return "id" in declaration && declaration.id?.type === "Identifier" ? [declaration.id.name] : [];
}

function nameOf(name: ESTree.ModuleExportName): string {
  return name.type === "Literal" ? name.value : name.name;
}
