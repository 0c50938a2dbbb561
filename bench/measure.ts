import type { RunResult } from "../cli/load-run.ts";
import { machineCpuSeconds } from "./machine.ts";
import type { BenchSystem, ByRole, Role } from "./system.ts";

/** What one row has shown, by name. The end of a name is the unit: Ms, Us, MiB, KiB, PerSecond. */
export type Figures = Readonly<Record<string, number>>;

/** What a piece of work has used, in seconds of CPU. */
export interface Used {
  readonly byRole: ByRole;
  readonly generator: number;
  /** Cores that everything else on the machine has kept busy meanwhile. */
  readonly othersCores: number;
  readonly seconds: number;
}

const MIB = 2 ** 20;
const ROLES: readonly Role[] = [
  "worker",
  "projection",
  "gateway",
  "nats",
  "psp",
  "runtime",
  "peer",
  "postgres",
];

/** Carries the work out and says what it has used. */
export async function using<T>(system: BenchSystem, work: () => Promise<T>): Promise<[T, Used]> {
  const before = system.cpu();
  const ownBefore = process.cpuUsage();
  const machineBefore = machineCpuSeconds();
  const startMs = performance.now();
  const result = await work();
  const seconds = (performance.now() - startMs) / 1_000;
  const after = system.cpu();
  const own = process.cpuUsage(ownBefore);
  const generator = (own.user + own.system) / 1e6;
  const byRole = new Map([...after].map(([role, used]) => [role, used - (before.get(role) ?? 0)] as const));
  const ours = generator + [...byRole.values()].reduce((sum, each) => sum + each, 0);
  const machine = machineCpuSeconds() - machineBefore;
  const othersCores = machine === 0 ? 0 : Math.max(0, (machine - ours) / seconds);
  return [result, { byRole, generator, othersCores, seconds }];
}

/** I14: while nothing is broken, no more of the answers may leave open what has become of an order. */
export const UNKNOWN_SHARE_MAX = 0.001;

/** Figures of orders that were waited for. @throws Error if more than a thousandth has an unknown outcome */
export function orderFigures(
  { tally, latency, elapsedMs, dropped }: RunResult,
  used: Used,
  memory: ByRole,
): Figures {
  const sent = tally.done + tally.failed;
  if (tally.unknown > sent * UNKNOWN_SHARE_MAX)
    throw new Error(`${tally.unknown} of ${sent} orders have an unknown outcome while nothing is broken`);
  return {
    ordersPerSecond: rounded(((tally.done - tally.replayed) * 1_000) / elapsedMs),
    orders: tally.done,
    p50Ms: rounded(latency.p50Ms),
    p99Ms: rounded(latency.p99Ms),
    maxMs: rounded(latency.maxMs),
    failed: tally.failed + dropped,
    unknown: tally.unknown,
    ...cpuFigures(used, tally.done),
    ...memoryFigures(memory),
  };
}

/** CPU seconds per 1,000 of something: of all processes but the generator, and by role. */
export function cpuFigures({ byRole, generator, othersCores }: Used, count: number): Figures {
  const per1000 = (seconds: number) => (count === 0 ? 0 : rounded((seconds * 1_000) / count));
  const all = [...byRole.values()].reduce((sum, each) => sum + each, 0);
  const parts = ROLES.flatMap((role) => {
    const seconds = byRole.get(role);
    return seconds === undefined ? [] : [[`cpu.${role}`, per1000(seconds)] as const];
  });
  return {
    cpu: per1000(all),
    ...Object.fromEntries(parts),
    "cpu.generator": per1000(generator),
    othersCores: rounded(othersCores),
  };
}

export function memoryFigures(memory: ByRole): Figures {
  const all = [...memory.values()].reduce((sum, each) => sum + each, 0);
  const parts = [...memory].map(([role, bytes]) => [`memoryMiB.${role}`, mebibytes(bytes)] as const);
  return { memoryMiB: mebibytes(all), ...Object.fromEntries(parts) };
}

export function mebibytes(bytes: number): number {
  return Math.round((bytes * 10) / MIB) / 10;
}

export function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}

/** Of an even number of values the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : rounded(((sorted[middle - 1] ?? upper) + upper) / 2);
}

/** The median of each figure over several runs. */
export function medianFigures(runs: readonly Figures[]): Figures {
  const names = new Set(runs.flatMap((run) => Object.keys(run)));
  return Object.fromEntries(
    [...names].map((name) => [name, median(runs.flatMap((run) => run[name] ?? []))] as const),
  );
}
