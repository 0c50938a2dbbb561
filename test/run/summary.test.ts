import { describe, expect, it } from "vitest";
import { summarize } from "./summary.ts";

const file = (status: string, ...tests: string[]) => ({
  status,
  assertionResults: tests.map((test) => ({ status: test })),
});
const report = (passed: number, failed: number, ...testResults: unknown[]) => ({
  numPassedTests: passed,
  numFailedTests: failed,
  numPendingTests: 0,
  testResults,
});

describe("the summary line", () => {
  it("counts tests", () => {
    const seen = report(2, 1, file("passed", "passed", "passed"), file("failed", "failed"));
    expect(summarize(seen, 1)).toEqual({ passed: 2, failed: 1 });
  });

  it("counts a file that broke before its first test as a failure", () => {
    expect(summarize(report(1, 0, file("passed", "passed"), file("failed")), 1)).toEqual({
      passed: 1,
      failed: 1,
    });
  });

  it("never turns a bad exit into a success", () => {
    expect(summarize(report(1, 0, file("passed", "passed")), 1)).toEqual({ passed: 1, failed: 1 });
    expect(summarize(undefined, 0)).toEqual({ passed: 0, failed: 1 });
  });
});
