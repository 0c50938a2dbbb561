import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { curlRecipes } from "../../cli/welcome.ts";
import { root } from "../run/process.ts";
import { commandTable, shellCommands } from "../tidy/documents.ts";
import { type DevPlace, devPlace, type DevProcess, startDev } from "./dev-process.ts";

const USUAL = "http://localhost:8080";
/** Long enough for a watch to send its snapshot. */
const WATCH_SECONDS = 2;

const readme = { path: "README.md", text: readFileSync(join(root, "README.md"), "utf8") };
const commands = shellCommands(readme);
const rows = commandTable(readme).filter(({ runBy }) => runBy === "test/e2e/readme.test.ts");
const isOurs = (command: string) => rows.some((row) => command.startsWith(row.command.split("…")[0] ?? "-"));
const START = "npm ci && npm start";

let place: DevPlace;
let system: DevProcess;

beforeAll(async () => {
  expect(commands).toContain(START);
  place = await devPlace();
  // What `npm ci` does is there already, or this test would not run.
  system = await startDev(place, ["npm", "start"]);
});

afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  place?.[Symbol.dispose]();
});

/** Runs a line as a reader's shell does, with this system's port. */
function shell(command: string): Promise<{ readonly output: string; readonly exitCode: number }> {
  const line = command.replaceAll(USUAL, system.url);
  const isWatch = line.startsWith("curl -sN ");
  const script = isWatch ? `timeout ${WATCH_SECONDS} ${line}` : line;
  return new Promise((resolve) => {
    execFile("bash", ["-c", script], { cwd: root, env: place.env }, (error, stdout, stderr) => {
      const exitCode = typeof error?.code === "number" ? error.code : error === null ? 0 : 1;
      resolve({ output: `${stdout}${stderr}`, exitCode: isWatch && exitCode === 124 ? 0 : exitCode });
    });
  });
}

describe("README.md", () => {
  it.each(commands.filter((command) => isOurs(command) && command !== START))("%s", async (command) => {
    const { output, exitCode } = await shell(command);
    expect(exitCode, output).toBe(0);
    expect(output).not.toMatch(/"code":"[a-z_]+"/);
    if (command.includes("/PlaceOrder")) {
      const isDeclined = command.includes("tok_decline");
      expect(output).toContain(isDeclined ? "ORDER_STATUS_REJECTED" : "ORDER_STATUS_CONFIRMED");
      if (isDeclined) expect(output).toContain("ORDER_REASON_CODE_PAYMENT_DECLINED");
    }
    if (command.startsWith("curl -sN")) expect(output).toMatch(/^event: snapshot$/m);
    if (command.includes("reconcile"))
      expect(output).toMatch(/^clean: [1-9][\d,]* orders, 0 of them under way$/m);
    if (command.includes("inspect")) expect(JSON.parse(output)).toHaveProperty("value");
  });

  it("shows the commands that npm start prints", () => {
    for (const { command } of curlRecipes(USUAL)) expect(commands).toContain(command);
    for (const { command } of curlRecipes(system.url)) expect(system.output()).toContain(command);
  });

  it("the stock of a declined order is back", async () => {
    const declined = commands.find((command) => command.includes("tok_decline")) ?? expect.fail();
    const stock = commands.find((command) => command.includes("GetStock")) ?? expect.fail();
    const before = JSON.parse((await shell(stock)).output) as { stock: { onHand: string; reserved: string } };
    await shell(declined);
    const after = JSON.parse((await shell(stock)).output) as typeof before;
    expect(after.stock.onHand).toBe(before.stock.onHand);
    expect(after.stock.reserved).toBe("0");
  });

  it("totals move while somebody watches them", async () => {
    const watch = commands.find((command) => command.includes("total-sales:watch")) ?? expect.fail();
    const place1 = commands.find((command) => command.includes("tok_ok")) ?? expect.fail();
    const watching = shell(watch);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await shell(place1);
    const { output } = await watching;
    expect(output).toMatch(/^event: snapshot$[\s\S]*^event: update$/m);
  });
});
