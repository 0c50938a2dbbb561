import { milliseconds } from "./latency.ts";
import type { RunResult } from "./load-run.ts";
import type { Tally } from "./outcome.ts";
import type { TreeCpu } from "./process-cpu.ts";
import { grouped, table } from "./terminal.ts";

/** Figures of a run, as `--json` prints them. */
export interface Numbers {
  readonly total: number;
  readonly success: number;
  readonly failed: number;
  readonly dropped: number;
  readonly replayed: number;
  readonly elapsedSeconds: number;
  /** Of the orders that got as far as asked. */
  readonly ordersPerSecond: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly failures: Readonly<Record<string, number>>;
}

/** Orders that had been placed before do not count as throughput. */
export function numbersOf({ tally, latency, elapsedMs, dropped }: RunResult): Numbers {
  const { done, failed, replayed, byStatus, byFailure } = tally;
  const { p50Ms, p90Ms, p95Ms, p99Ms, maxMs } = latency;
  return {
    total: done + failed + dropped,
    success: done,
    failed,
    dropped,
    replayed,
    elapsedSeconds: rounded(elapsedMs / 1_000),
    ordersPerSecond: rounded(((done - replayed) * 1_000) / elapsedMs),
    p50Ms: rounded(p50Ms),
    p90Ms: rounded(p90Ms),
    p95Ms: rounded(p95Ms),
    p99Ms: rounded(p99Ms),
    maxMs: rounded(maxMs),
    statuses: Object.fromEntries(byStatus),
    failures: Object.fromEntries(byFailure),
  };
}

function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}

/** The report of `seed`. */
export function seedLines(numbers: Numbers): string[] {
  const { success, failed, dropped, total, elapsedSeconds, ordersPerSecond, replayed } = numbers;
  const replayNote = replayed === 0 ? "" : ` (${grouped(replayed)} of them had been placed before)`;
  return [
    ...table([
      ["success", grouped(success)],
      ["failed", grouped(failed + dropped)],
      ["total", grouped(total)],
      ["elapsed", `${elapsedSeconds.toFixed(2)} s`],
      ["orders per second", ordersPerSecond.toFixed(1)],
      ["p50", `${milliseconds(numbers.p50Ms)} ms`],
      ["p95", `${milliseconds(numbers.p95Ms)} ms`],
      ["p99", `${milliseconds(numbers.p99Ms)} ms`],
    ]),
    ...Object.entries(numbers.statuses).map(([status, count]) => `  ${grouped(count)} ${status}`),
    ...(replayNote === "" ? [] : [`success includes repeats${replayNote}; they are no throughput`]),
  ];
}

/** CPU of a run. */
export interface CpuNumbers {
  readonly name: string;
  readonly pid: number;
  /** CPU seconds per 1,000 orders that got as far as asked. */
  readonly secondsPer1000: number;
}

/** What was used between two readings. */
export function cpuNumbers(
  before: readonly TreeCpu[],
  after: readonly TreeCpu[],
  orders: number,
): CpuNumbers[] {
  return after.flatMap(({ root, name, seconds }) => {
    const start = before.find((tree) => tree.root === root);
    if (start === undefined || orders === 0) return [];
    return [{ name, pid: root, secondsPer1000: rounded(((seconds - start.seconds) * 1_000) / orders) }];
  });
}

/** One row of the table of `load`. */
export interface LoadRow {
  readonly name: string;
  readonly numbers: Numbers;
  readonly cpu: readonly CpuNumbers[];
  /** CPU of the generator itself, in seconds per 1,000 orders. */
  readonly generatorSecondsPer1000: number;
}

const HEAD = [
  "run",
  "orders",
  "failed",
  "orders/s",
  "p50 ms",
  "p90 ms",
  "p99 ms",
  "max ms",
  "CPU-s/1,000",
  "generator",
];

/** The table of `load`. */
export function loadTable(rows: readonly LoadRow[]): string[] {
  return table([
    HEAD,
    ...rows.map(({ name, numbers, cpu, generatorSecondsPer1000 }) => {
      const sum = cpu.reduce((total, { secondsPer1000 }) => total + secondsPer1000, 0);
      return [
        name,
        grouped(numbers.success),
        grouped(numbers.failed + numbers.dropped),
        grouped(numbers.ordersPerSecond),
        milliseconds(numbers.p50Ms),
        milliseconds(numbers.p90Ms),
        milliseconds(numbers.p99Ms),
        milliseconds(numbers.maxMs),
        cpu.length === 0 ? "–" : sum.toFixed(3),
        generatorSecondsPer1000.toFixed(3),
      ];
    }),
  ]);
}

/** One line for each kind of failure, with the first message of it. */
export function failureLines({ byFailure, messages }: Tally): string[] {
  return [...byFailure].map(
    ([code, count]) => `  ${grouped(count)} failed with ${code}: ${messages.get(code) ?? ""}`,
  );
}
