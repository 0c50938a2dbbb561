import { createHistogram } from "node:perf_hooks";

/** Quantiles of one set of latencies, in milliseconds. */
export interface LatencySummary {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

/** Longer latencies count as this. */
const LATENCY_US_MAX = 600_000_000;
const DIGITS = 3;

/**
 * Latencies in a histogram of three significant digits. Record them from the moment when the request was *meant* to
 * start: a generator that waits for slow answers would otherwise leave out exactly those that had to wait.
 */
export class LatencyHistogram {
  readonly #histogram = createHistogram({ lowest: 1, highest: LATENCY_US_MAX, figures: DIGITS });

  record(latencyMs: number): void {
    this.#histogram.record(Math.min(LATENCY_US_MAX, Math.max(1, Math.round(latencyMs * 1_000))));
  }

  /** All zero when nothing was recorded. */
  summary(): LatencySummary {
    const { count } = this.#histogram;
    const at = (percentile: number) => (count === 0 ? 0 : this.#histogram.percentile(percentile) / 1_000);
    return {
      count,
      meanMs: count === 0 ? 0 : this.#histogram.mean / 1_000,
      p50Ms: at(50),
      p90Ms: at(90),
      p95Ms: at(95),
      p99Ms: at(99),
      p999Ms: at(99.9),
      maxMs: count === 0 ? 0 : this.#histogram.max / 1_000,
    };
  }
}

/** Three significant digits: `0.94`, `12.3`, `1,240`. */
export function milliseconds(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString("en-US");
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
