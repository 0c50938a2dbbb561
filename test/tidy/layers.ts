import { posix } from "node:path";
import { at, type Source } from "./sources.ts";

/** Who may import whom, by layer; a layer may always import itself. `domain` is one folder of actors/. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  gen: [],
  platform: [],
  runtime: ["gen", "platform"],
  shared: ["gen", "platform"],
  domain: ["gen", "runtime door", "shared"],
  psp: ["gen", "platform", "shared"],
  reconcile: ["gen", "shared"],
  archivist: ["gen", "platform", "runtime door"],
  "actors entry": ["gen", "platform", "runtime door", "shared", "psp", "reconcile", "archivist", "domain"],
  gateway: ["gen", "platform", "runtime door", "reconcile", "archivist"],
  cli: ["gen", "platform", "runtime door", "reconcile", "role entry"],
  k8s: ["gen", "platform", "runtime topology"],
  web: ["gen"],
  k6: ["gen"],
};

/** Folders of actors/ that are no domain: what several layers share, and the simulator's role. */
const SIDE_FOLDERS: ReadonlySet<string> = new Set(["shared", "psp", "reconcile", "archivist"]);

/** Folders that measure or test the whole: they may import anything. */
const OUTSIDE = /^(test|bench)\//;
const TEST_FILE = /(\.test|\.contract|\/testing)\.ts$/;

/** Packages that belong to some folders only, and what to import instead. */
const PACKAGES: readonly { readonly package: RegExp; readonly allowed: RegExp; readonly instead: string }[] =
  [
    {
      package: /^@nats-io\//,
      allowed: /^(platform\/|actors\/runtime\/bus\/[^/]*-jetstream[^/]*\.ts$)|\.nats\.test\.ts$/,
      instead: "go through platform/ or the bus of actors/runtime",
    },
    {
      package: /^@connectrpc\//,
      allowed: /^(gateway|cli|web)\//,
      instead: "keep the wire in gateway/ and talk to actors through actors/runtime/index.ts",
    },
    { package: /^pino$/, allowed: /^platform\//, instead: "import the Logger type of platform/log.ts" },
    { package: /^commander$/, allowed: /^cli\//, instead: "leave command lines to cli/" },
  ];

/** The layer of a file, or undefined if the file is in no layer. */
export function layerOf(path: string): string | undefined {
  if (path.startsWith("proto/gen/")) return "gen";
  if (path.startsWith("actors/runtime/")) return "runtime";
  const [top, folder, file] = path.split("/");
  if (top === "actors" && file !== undefined && folder !== undefined && SIDE_FOLDERS.has(folder))
    return folder;
  if (top === "actors") return file === undefined ? "actors entry" : `domain ${folder}`;
  return top !== undefined && folder !== undefined && top in MAY_IMPORT ? top : undefined;
}

function mayImport(path: string, from: string, target: string, to: string): boolean {
  const allowed = MAY_IMPORT[from.split(" ")[0] === "domain" ? "domain" : from] ?? [];
  if (allowed.includes(to.split(" ")[0] ?? to)) return true;
  if (TEST_FILE.test(path) && to === "platform") return true;
  if (to === "runtime") {
    if (allowed.includes("runtime door") && target === "actors/runtime/index.ts") return true;
    if (allowed.includes("runtime topology") && target === "actors/runtime/topology.ts") return true;
    return TEST_FILE.test(path) && target === "actors/runtime/testing.ts";
  }
  return allowed.includes("role entry") && /^(actors|gateway)\/main\.ts$/.test(target);
}

/** Imports that run upwards, sideways into another domain, or past a layer's door. */
export function layerViolations(source: Source): string[] {
  const { path, imports } = source;
  if (OUTSIDE.test(path)) return [];
  const from = layerOf(path);
  if (from === undefined)
    return [`${path} belongs to no layer: move it, or name its folder in test/tidy/layers.ts`];
  return imports.flatMap(({ specifier, start }) => {
    if (!specifier.startsWith(".")) return packageViolations(source, specifier, start);
    const target = posix.join(posix.dirname(path), specifier);
    const to = layerOf(target);
    if (to === from || (to !== undefined && mayImport(path, from, target, to))) return [];
    return [`${at(source, start)} imports ${target}: ${from} may import only ${allowedNames(from)}`];
  });
}

function packageViolations(source: Source, specifier: string, start: number): string[] {
  return PACKAGES.filter((rule) => rule.package.test(specifier) && !rule.allowed.test(source.path)).map(
    ({ instead }) => `${at(source, start)} imports ${specifier}: ${instead}`,
  );
}

function allowedNames(from: string): string {
  const names = MAY_IMPORT[from.startsWith("domain") ? "domain" : from] ?? [];
  return ["itself", ...names].join(", ");
}
