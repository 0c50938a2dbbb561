import { describe, expect, it } from "vitest";
import { banViolations, longLines } from "./bans.ts";
import { allSources, parseSource } from "./sources.ts";

const planted = (path: string, text: string) => banViolations(parseSource(path, text));

describe("banned calls", () => {
  it("occur nowhere", () => {
    expect(allSources().flatMap(banViolations)).toEqual([]);
  });

  it.each([
    ["Date.now();", "clock.nowMs()"],
    ["new Date().getTime();", "clock.nowMs()"],
    ["const at = performance.now();", "clock.monotonicMs()"],
    ["setTimeout(() => {}, 5);", "clock.setTimer()"],
    ["globalThis.setInterval(() => {}, 5);", "clock.setTimer()"],
    [`import { setTimeout as wait } from "node:timers/promises";`, "sleep()"],
    ["Math.random();", "Random"],
    ["process.env.HOME;", "environment once"],
    ["process.exit(1);", "shutdown"],
    [`vi.mock("./a.ts");`, "real thing"],
    ["it.only(name, () => {});", "run every test"],
    [`describe.skip("a", () => {});`, "run every test"],
    ["// TODO: later\n", "do it"],
  ])("in actors/order/a.ts, %s is refused and the message says what to use", (text, replacement) => {
    expect(planted("actors/order/a.ts", text)).toEqual([expect.stringContaining(replacement)]);
  });

  it("are not seen in text, in a type or in a parsed date", () => {
    const text = `const help = "setTimeout(…) and Date.now()"; new Date(5); type T = typeof setTimeout; // Date.now`;
    expect(planted("actors/order/a.ts", text)).toEqual([]);
  });

  it("may occur in the one place that wraps them", () => {
    expect(planted("platform/clock.ts", "Date.now(); setTimeout(() => {}, 1);")).toEqual([]);
    expect(planted("gateway/main.ts", "process.env.PORT;")).toEqual([]);
  });
});

describe("lines", () => {
  it("fit beside another editor", () => {
    expect(allSources().flatMap(longLines)).toEqual([]);
  });
});
