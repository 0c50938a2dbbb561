import { setTimeout } from "node:timers/promises";
import type { RunResult } from "../cli/load-run.ts";
import type { Generator } from "./generator.ts";
import { type Figures, mebibytes, rounded, using } from "./measure.ts";
import {
  closedFigures,
  type Row,
  type RowContext,
  tellFailures,
  USUAL_ORDERS,
  warmGenerator,
} from "./row.ts";
import type { BenchSystem } from "./system.ts";

/** Of all orders one in ten is waited for until it is settled: ten times those under way is the backlog. */
const PROBES_PER_ORDER = 0.1;
const SAMPLE_MS = 20;
const SPIKE = { basePerSecond: 300, perSecond: 3_000, calmShare: 0.4 };
const OVERLOAD = { times: 2, inFlight: 256, capacityShare: 0.4 };
/** More sockets than the gateway takes calls: the excess must be refused by it, not wait here. */
const SOCKETS_MAX = 6_000;
const UNDER_WAY_MAX = 60_000;

interface Sample {
  readonly atMs: number;
  readonly backlog: number;
  readonly gatewayBytes: number;
}

/** Looks at the backlog and at the gateway's memory until it is closed. */
class Observer {
  readonly gauge = { underWay: 0 };
  readonly samples: Sample[] = [];
  readonly #timer: NodeJS.Timeout;
  readonly #system: BenchSystem;
  #gatewayBytes = 0;

  constructor(system: BenchSystem) {
    this.#system = system;
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
  }

  between(startMs: number, endMs: number): readonly Sample[] {
    return this.samples.filter(({ atMs }) => atMs >= startMs && atMs < endMs);
  }

  /** Time from `sinceMs` until the backlog was down to `usual`; Infinity if it never was. */
  goneMs(sinceMs: number, usual: number): number {
    const gone = this.samples.find(({ atMs, backlog }) => atMs >= sinceMs && backlog <= usual);
    return gone === undefined ? Infinity : gone.atMs - sinceMs;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #sample(): void {
    if (this.samples.length % 10 === 0) this.#gatewayBytes = this.#system.memory().get("gateway") ?? 0;
    const backlog = this.gauge.underWay / PROBES_PER_ORDER;
    this.samples.push({ atMs: performance.now(), backlog, gatewayBytes: this.#gatewayBytes });
  }
}

/** An open loop in which most are answered when they are durable and one in ten when it is settled. */
async function mixed(
  generator: Generator,
  { gauge }: Observer,
  perSecond: number,
  durationMs: number,
): Promise<readonly [accepted: RunResult, settled: RunResult]> {
  const shared = { durationMs, connectionsMax: SOCKETS_MAX, inFlightMax: UNDER_WAY_MAX };
  return Promise.all([
    generator.open({ ...shared, ratePerSecond: perSecond * (1 - PROBES_PER_ORDER), wait: "accepted" }),
    generator.open({ ...shared, ratePerSecond: perSecond * PROBES_PER_ORDER, wait: "settled", gauge }),
  ]);
}

function failedOf(results: readonly RunResult[]): number {
  return results.reduce((sum, { tally, dropped }) => sum + tally.failed + dropped, 0);
}

/** A calm, a spike at ten times the rate, a calm again. */
export const spikeRow: Row = {
  name: "spike",
  group: "spike",
  about: `open loop, ${SPIKE.basePerSecond} → ${SPIKE.perSecond} → ${SPIKE.basePerSecond} orders/s`,
  run: async (context) => {
    const { system, seconds, tell, signal } = context;
    const generator = await warmGenerator(context, USUAL_ORDERS);
    const observer = new Observer(system);
    const spikeMs = seconds * 1_000;
    const calmMs = Math.max(1_000, spikeMs * SPIKE.calmShare);
    try {
      tell(`${SPIKE.basePerSecond} → ${SPIKE.perSecond}/s`);
      const startMs = performance.now() + calmMs;
      const [[calm, spike], used] = await using(system, () =>
        Promise.all([
          mixed(generator, observer, SPIKE.basePerSecond, spikeMs + 2 * calmMs),
          setTimeout(calmMs, undefined, { signal }).then(() =>
            mixed(generator, observer, SPIKE.perSecond - SPIKE.basePerSecond, spikeMs),
          ),
        ]),
      );
      for (const result of [...calm, ...spike]) tellFailures(result, tell);
      const endMs = startMs + spikeMs;
      const before = observer.between(startMs - calmMs / 2, startMs).map(({ backlog }) => backlog);
      const usual = Math.max(1 / PROBES_PER_ORDER, ...before);
      const during = observer.between(startMs, endMs + calmMs);
      const [accepted, settled] = spike;
      const orders = [...calm, ...spike].reduce((sum, { tally }) => sum + tally.done, 0);
      return {
        ordersPerSecond: rounded((orders * 1_000) / (spikeMs + 2 * calmMs)),
        p50Ms: rounded(accepted.latency.p50Ms),
        p99Ms: rounded(accepted.latency.p99Ms),
        maxMs: rounded(accepted.latency.maxMs),
        failed: failedOf([...calm, ...spike]),
        settledP99Ms: rounded(settled.latency.p99Ms),
        backlogUsual: rounded(usual),
        backlogMax: rounded(Math.max(0, ...during.map(({ backlog }) => backlog))),
        goneMs: rounded(observer.goneMs(endMs, usual)),
        gatewayMiB: mebibytes(Math.max(0, ...during.map(({ gatewayBytes }) => gatewayBytes))),
        othersCores: rounded(used.othersCores),
      };
    } finally {
      observer.close();
    }
  },
};

/** Twice as many orders as the system has just shown to settle. */
export const overloadRow: Row = {
  name: "overload",
  group: "overload",
  about: "open loop at twice the rate that a closed loop with 256 in flight has just reached",
  run: async (context) => {
    const { system, seconds, tell } = context;
    const generator = await warmGenerator(context, USUAL_ORDERS);
    const capacity = await capacityOf(context, generator);
    const observer = new Observer(system);
    const loadMs = seconds * 1_000;
    const perSecond = capacity * OVERLOAD.times;
    try {
      tell(`capacity ${Math.round(capacity)}/s, load ${Math.round(perSecond)}/s`);
      const startMs = performance.now();
      const [results, used] = await using(system, () => mixed(generator, observer, perSecond, loadMs));
      await setTimeout(SAMPLE_MS * 2);
      const [accepted, settled] = results;
      const loaded = observer.between(startMs, Infinity).map(({ gatewayBytes }) => gatewayBytes);
      return {
        ordersPerSecond: rounded((accepted.tally.done + settled.tally.done) / (loadMs / 1_000)),
        p50Ms: rounded(accepted.latency.p50Ms),
        p99Ms: rounded(accepted.latency.p99Ms),
        maxMs: rounded(accepted.latency.maxMs),
        failed: otherFailures(results, tell),
        refusedPerSecond: rounded(refusals(results) / (loadMs / 1_000)),
        refusedP99Ms: rounded(accepted.refused.p99Ms),
        refusedMaxMs: rounded(accepted.refused.maxMs),
        settledP99Ms: rounded(settled.latency.p99Ms),
        drainedMs: rounded(observer.goneMs(startMs + loadMs, 1 / PROBES_PER_ORDER)),
        gatewayStartMiB: mebibytes(loaded[0] ?? 0),
        gatewayMaxMiB: mebibytes(Math.max(0, ...loaded)),
        capacityPerSecond: rounded(capacity),
        othersCores: rounded(used.othersCores),
      };
    } finally {
      observer.close();
    }
  },
};

async function capacityOf(context: RowContext, generator: Generator): Promise<number> {
  const seconds = context.seconds * OVERLOAD.capacityShare;
  const figures: Figures = await closedFigures({ ...context, seconds }, generator, OVERLOAD.inFlight);
  return figures["ordersPerSecond"] ?? 0;
}

const REFUSED = /^resource_exhausted/;

function refusals(results: readonly RunResult[]): number {
  return results
    .flatMap(({ tally }) => [...tally.byFailure])
    .reduce((sum, [code, count]) => sum + (REFUSED.test(code) ? count : 0), 0);
}

/** What failed without having been refused in order: time-outs, broken connections, what the generator dropped. */
function otherFailures(results: readonly RunResult[], tell: (line: string) => void): number {
  let sum = 0;
  for (const { tally, dropped } of results) {
    sum += dropped;
    for (const [code, count] of tally.byFailure) {
      if (REFUSED.test(code)) continue;
      sum += count;
      tell(`${count} failed with ${code}: ${tally.messages.get(code) ?? ""}`);
    }
  }
  return sum;
}
