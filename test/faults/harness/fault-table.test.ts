import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { columnOf, type FaultRow, readRows, tableOf } from "./fault-table.ts";

const row: FaultRow = {
  name: "kill",
  servers: "R1",
  faults: 2,
  orders: 100,
  inFlight: 7,
  violations: [],
  recoveryMs: [900, 1_240],
};

it.each([
  ["accepted order a cannot be read: not_found gone", "lost"],
  ["list: order a is missing", "lost"],
  ["key k was never accepted: unavailable", "lost"],
  ["money: CONFIRMED order a was charged 2 times", "doubled"],
  ["list: key k has two orders", "doubled"],
  ["order a (tok_ok) is stuck in PLACED none", "stuck"],
  ["stock of tea at rest: on hand 7, reserved 2; 3 of 10 were bought", "stuck"],
  ["stock of tea: on hand -1, reserved 0, available -1 of 10", "oversold"],
  ["scarce is oversold: 41", "oversold"],
  ["reconcile: DIRTY []", "other"],
])("counts '%s' as %s", (violation, column) => {
  expect(columnOf(violation)).toBe(column);
});

it("shows each run and all of them, the longest recovery, and what broke off", () => {
  const broken = { ...row, servers: "R3", violations: ["list: order a is missing"], failure: "no answer" };
  expect(tableOf([row, broken]).split("\n").slice(2)).toEqual([
    "| kill | R1 | 2 | 100 | 7 | 0 | 0 | 0 | 0 | 0 | 1.2 s |",
    "| kill | R3 | 2 | 100 | 7 | 1 | 0 | 0 | 0 | 0 | 1.2 s, 1 broke off |",
    "| all |  | 4 | 200 | 7 | 1 | 0 | 0 | 0 | 0 | 1.2 s, 1 broke off |",
    "",
  ]);
});

it("keeps the newest row of a run that was repeated", () => {
  const dir = mkdtempSync(join(tmpdir(), "tradewind-rows-"));
  try {
    const file = join(dir, "rows");
    expect(readRows(file)).toEqual([]);
    const rows = [{ ...row, orders: 1 }, { ...row, servers: "R3" }, row];
    writeFileSync(file, rows.map((each) => `${JSON.stringify(each)}\n`).join(""));
    expect(readRows(file)).toEqual([row, { ...row, servers: "R3" }]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
