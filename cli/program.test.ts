import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { createProgram } from "./program.ts";

const program = createProgram({});
const command = (name: string): Command =>
  program.commands.find((it) => it.name() === name) ?? expect.fail(`there is no command ${name}`);
const flags = (name: string) => command(name).options.map(({ long }) => long);

describe("the tradewind command", () => {
  it("has every command", () => {
    expect(program.commands.map((it) => it.name())).toEqual([
      "dev",
      "gateway",
      "worker",
      "psp",
      "seed",
      "load",
      "inspect",
      "reconcile",
      "archive",
      "dead-letters",
      "doctor",
    ]);
    expect(command("dead-letters").commands.map((it) => it.name())).toEqual([
      "list",
      "show",
      "redrive",
      "discard",
    ]);
  });

  it("seeds with the flags and defaults that seeders of old had", () => {
    const defaults = Object.fromEntries(
      command("seed").options.map((it) => [it.long, it.defaultValue as unknown]),
    );
    expect(defaults).toMatchObject({
      "--count": 1_000,
      "--min-user": 1,
      "--max-user": 1_000,
      "--min-product": 1,
      "--max-product": 100,
      "--min-quantity": 1,
      "--max-quantity": 10,
      "--verbose": false,
    });
    expect(flags("seed")).toContain("--url");
  });

  it("describes every command and every flag", () => {
    const all = [...program.commands, ...command("dead-letters").commands];
    const silent = all.filter(
      (it) => it.description() === "" || it.options.some(({ description }) => description === ""),
    );
    expect(silent.map((it) => it.name())).toEqual([]);
  });

  it("says which flag is wrong and why", async () => {
    const lines: string[] = [];
    const strict = createProgram({});
    const seed = strict.commands.find((it) => it.name() === "seed") ?? expect.fail();
    seed.exitOverride().configureOutput({ writeErr: (text) => lines.push(text) });
    const run = strict.parseAsync(["seed", "--count", "many"], { from: "user" });
    await expect(run).rejects.toThrow("--count <n>");
    expect(lines.join("")).toContain("--count <n>");
    expect(lines.join("")).toContain("give a whole number from 1");
  });
});
