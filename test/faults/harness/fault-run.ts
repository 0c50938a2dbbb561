import { expect } from "vitest";
import { systemClock } from "../../../platform/clock.ts";
import { FaultSystem, type FaultSystemOptions } from "./fault-system.ts";
import { type FaultRow, keepRow } from "./fault-table.ts";
import { LoadDriver, type LoadOptions } from "./load-driver.ts";
import { OrderWatcher } from "./order-watcher.ts";
import { openShop } from "./shop.ts";
import { StockSampler } from "./stock-sampler.ts";
import { verify } from "./verdict.ts";

/** What a fault has at hand. */
export interface Scene {
  readonly system: FaultSystem;
  readonly load: LoadDriver;
  /** Notes that a fault begins now: it counts, and its recovery is measured; `what` names it where it differs. */
  readonly hit: (what?: string) => void;
}

export interface FaultRunOptions extends FaultSystemOptions {
  readonly name: string;
  readonly load: LoadOptions;
  /** Once the system runs and before the load begins. */
  readonly before?: (system: FaultSystem) => Promise<void>;
  /** Breaks things while the load runs. */
  readonly faults: (scene: Scene) => Promise<void>;
  /** After the invariants hold: what this test wants to see besides. */
  readonly after?: (scene: Scene) => Promise<void>;
}

/** How many nats-servers a fault is shown on. */
export const SERVERS = [1, 3] as const;
const VIOLATIONS_SHOWN = 20;

/** One hit: when, what, and how many orders were under way. */
interface Hit {
  readonly ms: number;
  readonly what: string;
  readonly inFlight: number;
}

/**
 * Starts a system, puts load on it, breaks it, heals it, and checks the invariants and Reconcile. Prints one line of
 * figures, and keeps a row of them for the table.
 */
export async function faultRun(options: FaultRunOptions): Promise<void> {
  const system = await FaultSystem.start(options);
  const row = { name: options.name, servers: system.label, faults: 0, orders: 0, inFlight: 0 };
  let figures: Partial<FaultRow> = {};
  try {
    await openShop(system.api);
    await options.before?.(system);
    const load = new LoadDriver(system.api, options.load);
    const hits: Hit[] = [];
    const hit = (what = "") =>
      void hits.push({ ms: systemClock.monotonicMs(), what, inFlight: load.inFlight });
    const scene: Scene = { system, load, hit };
    const violations = await breakAndVerify(options, scene, hits);
    figures = {
      faults: hits.length,
      orders: load.diary.acked,
      inFlight: Math.max(0, ...hits.map(({ inFlight }) => inFlight)),
      violations,
      recoveryMs: hits.map(({ ms }) => load.recoveryMs(ms)),
    };
    expect(violations.slice(0, VIOLATIONS_SHOWN), system.errors().slice(-6_000)).toEqual([]);
    await options.after?.(scene);
    keepRow({ ...row, violations, recoveryMs: [], ...figures });
  } catch (error) {
    const failure = (error as Error).message.slice(0, 500);
    keepRow({ ...row, violations: [], recoveryMs: [], ...figures, failure });
    throw error;
  } finally {
    await system.stop();
  }
}

/** @returns what was wrong */
async function breakAndVerify(
  { name, faults }: FaultRunOptions,
  scene: Scene,
  hits: readonly Hit[],
): Promise<readonly string[]> {
  const { system, load } = scene;
  const startMs = systemClock.monotonicMs();
  const watcher = new OrderWatcher(() => system.gatewayUrls);
  const sampler = new StockSampler(system.api);
  let figures: Awaited<ReturnType<typeof verify>>;
  try {
    try {
      await faults(scene);
      await load.done;
    } finally {
      load.stop();
      await system.heal();
    }
    figures = await verify(system, load.diary, watcher);
  } finally {
    await Promise.all([watcher.stop(), sampler.stop()]);
  }
  const { diary } = load;
  const violations = [
    ...diary.violations,
    ...watcher.violations,
    ...sampler.violations,
    ...system.api.malformed,
  ];
  const ends = [...figures.ends].map(([status, count]) => `${status.toLowerCase()} ${count}`).join(", ");
  const parts = [
    `${name} ${system.label}: ${diary.acked} orders (${ends})`,
    `${hits.length} faults`,
    `recovery ${hits.map(({ ms, what }) => `${what} ${load.recoveryMs(ms)}`.trim()).join("/") || "0"} ms`,
    `settled ${figures.settleMs} ms after healing`,
    `${sampler.samples} stock samples`,
    `${watcher.resumes} watch resumes with ${watcher.repeats} repeats`,
    `${watcher.snapshots} snapshots`,
    `${violations.length} violations`,
    `${Math.round((systemClock.monotonicMs() - startMs) / 1_000)} s`,
    codesOf(system),
  ];
  report(parts.join("; "));
  return violations;
}

function codesOf(system: FaultSystem): string {
  const codes = [...system.api.codes].map(([code, count]) => `${code} ${count}`);
  return codes.length === 0 ? "no call failed" : `failed calls: ${codes.join(", ")}`;
}

/** One line for the person who runs it. */
export function report(line: string): void {
  process.stdout.write(`fault ${line}\n`);
}
