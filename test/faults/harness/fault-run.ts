import { appendFileSync } from "node:fs";
import { expect } from "vitest";
import { systemClock } from "../../../platform/clock.ts";
import { FaultSystem, type FaultSystemOptions } from "./fault-system.ts";
import { LoadDriver, type LoadOptions } from "./load-driver.ts";
import { OrderWatcher } from "./order-watcher.ts";
import { openShop } from "./shop.ts";
import { StockSampler } from "./stock-sampler.ts";
import { verify } from "./verdict.ts";

/** What a fault has at hand. */
export interface Scene {
  readonly system: FaultSystem;
  readonly load: LoadDriver;
  /** Notes that a fault begins now: it counts, and its recovery is measured. */
  readonly hit: () => void;
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

const VIOLATIONS_SHOWN = 20;

/**
 * Starts a system, puts load on it, breaks it, heals it, and checks the invariants and Reconcile. Prints one line of
 * figures.
 */
export async function faultRun(options: FaultRunOptions): Promise<void> {
  const { name, load: loadOptions, before, faults, after } = options;
  const startMs = systemClock.monotonicMs();
  const system = await FaultSystem.start(options);
  try {
    await openShop(system.api);
    await before?.(system);
    const watcher = new OrderWatcher(() => system.gatewayUrls);
    const sampler = new StockSampler(system.api);
    const load = new LoadDriver(system.api, loadOptions);
    const hits: number[] = [];
    const scene: Scene = { system, load, hit: () => void hits.push(systemClock.monotonicMs()) };
    let figures: Awaited<ReturnType<typeof verify>>;
    try {
      await faults(scene);
      await load.done;
    } finally {
      load.stop();
      await system.heal();
    }
    try {
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
    const recovery = hits.map((hitMs) => load.recoveryMs(hitMs)).join("/") || "0";
    const ends = [...figures.ends].map(([status, count]) => `${status.toLowerCase()} ${count}`).join(", ");
    const parts = [
      `${name} ${system.label}: ${diary.acked} orders (${ends})`,
      `${hits.length} faults`,
      `recovery ${recovery} ms`,
      `settled ${figures.settleMs} ms after healing`,
      `${sampler.samples} stock samples`,
      `${watcher.resumes} watch resumes with ${watcher.repeats} repeats`,
      `${watcher.snapshots} snapshots`,
      `${violations.length} violations`,
      `${Math.round((systemClock.monotonicMs() - startMs) / 1_000)} s`,
      codesOf(system),
    ];
    report(parts.join("; "));
    expect(violations.slice(0, VIOLATIONS_SHOWN), system.errors().slice(-6_000)).toEqual([]);
    await after?.(scene);
  } finally {
    await system.stop();
  }
}

function codesOf(system: FaultSystem): string {
  const codes = [...system.api.codes].map(([code, count]) => `${code} ${count}`);
  return codes.length === 0 ? "no call failed" : `failed calls: ${codes.join(", ")}`;
}

/** One line for the person who runs it, and for the table at the end of the suite. */
export function report(line: string): void {
  process.stdout.write(`fault ${line}\n`);
  const file = process.env["FAULTS_REPORT"];
  if (file !== undefined) appendFileSync(file, `${line}\n`);
}
