import { describe, expect, it } from "vitest";
import { compareVersions, formatVersion, parseVersion } from "./version.ts";

describe("parseVersion", () => {
  it.each([
    ["nats-server: v2.15.1\n", "2.15.1"],
    ["nats-server: v2.14.0-RC.2", "2.14.0-RC.2"],
    ["2.15.1", "2.15.1"],
    ["2.14.0~rc1", "2.14.0-rc1"],
    ["nats-server version 2.9.10", "2.9.10"],
  ])("reads %j", (text, version) => {
    const parsed = parseVersion(text);
    expect(parsed && formatVersion(parsed)).toBe(version);
  });

  it.each(["", "nats-server", "v2.15", "build 20261120"])("finds none in %j", (text) => {
    expect(parseVersion(text)).toBeUndefined();
  });
});

describe("compareVersions", () => {
  it("orders by number, and a pre-release before its release", () => {
    const sorted = ["2.9.10", "2.10.0", "2.14.0-RC.1", "2.14.0-RC.2", "2.14.0", "2.14.10", "3.0.0"];
    const versions = sorted.map((text) => parseVersion(text)).filter((version) => version !== undefined);
    expect(versions.toReversed().toSorted(compareVersions).map(formatVersion)).toEqual(sorted);
  });
});
