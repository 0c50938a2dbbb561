import { describe, expect, it } from "vitest";
import { baseUrl, days, decimal, duration, integer, integers, range, share } from "./flags.ts";

describe("flags", () => {
  it.each([
    ["500ms", 500],
    ["10s", 10_000],
    ["1.5s", 1_500],
    ["2m", 120_000],
    ["3", 3_000],
  ])("duration %s is %d ms", (text, ms) => expect(duration(text)).toBe(ms));

  it.each([
    ["5%", 0.05],
    ["0.05", 0.05],
    ["100%", 1],
    ["0", 0],
  ])("share %s is %d", (text, value) => expect(share(text)).toBe(value));

  it("reads numbers, lists and ranges within their bounds", () => {
    expect(integer(1, 10)("10")).toBe(10);
    expect(decimal(0, 1_000)("0.5")).toBe(0.5);
    expect([days(30)("45d"), days(30)("30")]).toEqual([45, 30]);
    expect(integers(1, 256)("1,64, 256")).toEqual([1, 64, 256]);
    expect(range(1, 9)("3")).toEqual({ min: 3, max: 3 });
    expect(range(1, 9)("1..3")).toEqual({ min: 1, max: 3 });
  });

  it("takes the origin of a URL that names an old path", () => {
    expect(baseUrl("http://localhost:8080/orders")).toBe("http://localhost:8080");
  });

  it.each([
    ["a bare word", () => duration("soon")],
    ["no time at all", () => duration("0")],
    ["fewer days than the least", () => days(30)("29d")],
    ["more than all", () => share("101%")],
    ["a fraction of one", () => integer(1, 10)("1.5")],
    ["a number above its bound", () => integer(1, 10)("11")],
    ["an empty number", () => decimal(0, 1)("")],
    ["one bad of a list", () => integers(1, 256)("1,,2")],
    ["a range the wrong way round", () => range(1, 9)("3..1")],
    ["a URL of another protocol", () => baseUrl("ftp://localhost")],
  ])("refuses %s and says what to give", (_, parse) => expect(parse).toThrow(/^give /));
});
