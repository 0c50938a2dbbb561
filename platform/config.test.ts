import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, expectTypeOf, it, onTestFinished } from "vitest";
import { ConfigError, configTable, defineConfig, describeConfig, printConfig, readConfig } from "./config.ts";

const definition = defineConfig({
  name: { env: "NAME", type: "text", default: "tea", lengthMax: 8, description: "what it is called" },
  port: { env: "PORT", type: "integer", default: 8080, min: 1, max: 65_535, description: "where it listens" },
  wait: {
    env: "WAIT",
    type: "durationMs",
    default: 5_000,
    min: 100,
    max: 60_000,
    description: "how long it waits",
  },
  size: { env: "SIZE", type: "bytes", default: 2 ** 20, description: "how much it holds" },
  isOn: { env: "ON", type: "boolean", default: false, description: "whether it runs" },
  level: {
    env: "LEVEL",
    type: "choice",
    choices: ["info", "debug"],
    default: "info",
    description: "how much it says",
  },
  url: { env: "URL", type: "url", protocols: ["http", "https"], optional: true, description: "whom it asks" },
  key: { env: "KEY", type: "text", secret: true, optional: true, description: "how it proves itself" },
});

const problemsOf = (env: Record<string, string>) => {
  try {
    readConfig(definition, env);
  } catch (error) {
    return error instanceof ConfigError ? error.problems : [String(error)];
  }
  return [];
};

describe("readConfig", () => {
  it("takes defaults for what is unset or empty, and freezes the result", () => {
    const config = readConfig(definition, { PORT: "", NAME: " " });
    expect(config).toEqual({
      name: "tea",
      port: 8080,
      wait: 5_000,
      size: 1_048_576,
      isOn: false,
      level: "info",
      url: undefined,
      key: undefined,
    });
    expect(Object.isFrozen(config)).toBe(true);
    expectTypeOf(config.level).toEqualTypeOf<"info" | "debug">();
    expectTypeOf(config.url).toEqualTypeOf<string | undefined>();
    expectTypeOf(config.port).toEqualTypeOf<number>();
  });

  it.each([
    [{ WAIT: "250ms" }, "wait", 250],
    [{ WAIT: "1.5s" }, "wait", 1_500],
    [{ WAIT: "1m" }, "wait", 60_000],
    [{ WAIT: "300" }, "wait", 300],
    [{ SIZE: "64MiB" }, "size", 67_108_864],
    [{ SIZE: "10GB" }, "size", 10_000_000_000],
    [{ SIZE: "12" }, "size", 12],
    [{ ON: "Yes" }, "isOn", true],
    [{ ON: "off" }, "isOn", false],
    [{ LEVEL: "debug" }, "level", "debug"],
    [{ URL: "https://a.example/x" }, "url", "https://a.example/x"],
  ] as const)("reads %j", (env, key, value) => {
    expect(readConfig(definition, env)[key]).toBe(value);
  });

  it("reports every bad variable in one error", () => {
    const env = {
      NAME: "far too long",
      PORT: "0",
      WAIT: "soon",
      SIZE: "-1",
      ON: "maybe",
      LEVEL: "loud",
      URL: "ftp://x",
    };
    expect(problemsOf(env)).toEqual([
      expect.stringContaining("NAME: must have at most 8 characters"),
      'PORT: must be at least 1, got "0"',
      'WAIT: must be a duration like 250ms, 5s or 2m, got "soon"',
      expect.stringContaining("SIZE: must be a size like 64MiB"),
      expect.stringContaining("ON: must be true or false"),
      expect.stringContaining("LEVEL: must be one of info, debug"),
      expect.stringContaining("URL: must be a URL with http or https"),
    ]);
  });

  it("names a bound in the unit of the setting", () => {
    expect(problemsOf({ WAIT: "2h" })).toEqual(['WAIT: must be at most 1m, got "2h"']);
  });

  it("requires what has no default, and says what it is for", () => {
    const strict = defineConfig({ it: { env: "IT", type: "text", description: "the thing" } });
    expect(() => readConfig(strict, {})).toThrow("IT: is required: the thing");
  });

  it("reads a secret from a file, refuses it twice, and keeps its value out of errors", () => {
    const dir = mkdtempSync(join(tmpdir(), "tradewind-config-"));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    writeFileSync(join(dir, "key"), "s3cret\n");
    expect(readConfig(definition, { KEY_FILE: join(dir, "key") }).key).toBe("s3cret");
    expect(problemsOf({ KEY: "s3cret", KEY_FILE: join(dir, "key") })).toEqual([
      expect.stringContaining("set twice"),
    ]);
    expect(problemsOf({ KEY_FILE: join(dir, "no") })).toEqual([expect.stringContaining("ENOENT")]);
    expect(problemsOf({ KEY: "s3cret".repeat(1_000) }).join()).not.toContain("s3cret");
  });

  it("refuses two settings for one variable", () => {
    const setting = { env: "A", type: "text", default: "", description: "x" } as const;
    expect(() => defineConfig({ one: setting, two: setting })).toThrow("two settings read the variable A");
  });
});

describe("describeConfig", () => {
  it("gives the rows of the docs", () => {
    expect(describeConfig(definition)[2]).toEqual({
      env: "WAIT",
      type: "duration",
      default: "5s",
      bounds: "100ms – 1m",
      description: "how long it waits",
    });
    expect(configTable(definition)).toContain("| `SIZE` | bytes | `1MiB` | ≥ 0 | how much it holds |");
  });
});

describe("printConfig", () => {
  it("shows values in the form they are written in, without secrets", () => {
    const text = printConfig(
      definition,
      readConfig(definition, { KEY: "s3cret", URL: "http://me:pw@host/" }),
    );
    expect(text).toContain("WAIT=5s\n");
    expect(text).toContain("KEY=[redacted]");
    expect(text).toContain("URL=http://[redacted]@host/");
    expect(text).not.toMatch(/s3cret|pw/);
  });
});
