import { describe, expect, it } from "vitest";
import { LatencyHistogram, milliseconds } from "./latency.ts";

describe("the latency histogram", () => {
  it("is all zero without a value", () => {
    expect(new LatencyHistogram().summary()).toEqual({
      count: 0,
      meanMs: 0,
      p50Ms: 0,
      p90Ms: 0,
      p95Ms: 0,
      p99Ms: 0,
      p999Ms: 0,
      maxMs: 0,
    });
  });

  it("keeps three significant digits", () => {
    const histogram = new LatencyHistogram();
    for (let ms = 1; ms <= 1_000; ms++) histogram.record(ms);
    const { count, p50Ms, p99Ms, maxMs } = histogram.summary();
    expect(count).toBe(1_000);
    expect(p50Ms / 500).toBeCloseTo(1, 2);
    expect(p99Ms / 990).toBeCloseTo(1, 2);
    expect(maxMs / 1_000).toBeCloseTo(1, 2);
  });

  it("takes what is shorter than a microsecond and longer than its range", () => {
    const histogram = new LatencyHistogram();
    histogram.record(0);
    histogram.record(10_000_000);
    expect(histogram.summary().count).toBe(2);
  });

  it.each([
    [0.123, "0.12"],
    [12.34, "12.3"],
    [1_234.5, "1,235"],
  ])("prints %d as %s", (value, text) => expect(milliseconds(value)).toBe(text));
});
