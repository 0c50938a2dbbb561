import { type Clock, sleep } from "../platform/clock.ts";
import { LatencyHistogram, type LatencySummary } from "./latency.ts";
import { type Outcome, Tally } from "./outcome.ts";

/** Places order number `index` and tells what became of it. Never throws. */
export type PlaceOrder = (index: number) => Promise<Outcome>;

export interface RunOptions {
  readonly clock: Clock;
  readonly place: PlaceOrder;
  /** No more orders are started once it is aborted. */
  readonly signal: AbortSignal;
  /** Called about four times a second. */
  readonly progress?: (seen: {
    readonly done: number;
    readonly failed: number;
    readonly elapsedMs: number;
  }) => void;
}

/** What a run has shown. */
export interface RunResult {
  readonly tally: Tally;
  /** Of the orders that got as far as asked, from the moment when each was meant to start. */
  readonly latency: LatencySummary;
  /** Of the others, likewise: how long it took to be told no. */
  readonly refused: LatencySummary;
  /** From the first order's start to the last answer. */
  readonly elapsedMs: number;
  /** Orders that were not sent as too many were under way (open loop only). */
  readonly dropped: number;
}

const PROGRESS_MS = 250;
/** Orders under way in an open loop; above it the generator would measure itself, so they are dropped and counted. */
export const OPEN_IN_FLIGHT_MAX = 4_096;

interface Recorder {
  readonly place: (index: number, meantMs: number) => Promise<void>;
  readonly result: (dropped: number) => RunResult;
}

function recorder({ clock, place, progress }: RunOptions): Recorder {
  const tally = new Tally();
  const histogram = new LatencyHistogram();
  const refusals = new LatencyHistogram();
  const startedMs = clock.monotonicMs();
  let lastMs = startedMs;
  let toldMs = startedMs;
  return {
    place: async (index, meantMs) => {
      const outcome = await place(index);
      lastMs = clock.monotonicMs();
      tally.add(outcome);
      (outcome.ok ? histogram : refusals).record(lastMs - meantMs);
      if (progress === undefined || lastMs - toldMs < PROGRESS_MS) return;
      toldMs = lastMs;
      progress({ done: tally.done, failed: tally.failed, elapsedMs: lastMs - startedMs });
    },
    result: (dropped) => ({
      tally,
      latency: histogram.summary(),
      refused: refusals.summary(),
      elapsedMs: Math.max(1, lastMs - startedMs),
      dropped,
    }),
  };
}

/** Closed loop: `inFlight` orders are under way at all times, each next one starts with an answer. */
export async function runClosed(
  options: RunOptions & {
    readonly inFlight: number;
    /** Orders in all; whichever limit comes first ends the run. */
    readonly orders?: number;
    readonly durationMs?: number;
  },
): Promise<RunResult> {
  const { clock, signal, inFlight, orders = Infinity, durationMs = Infinity } = options;
  const { place, result } = recorder(options);
  const endMs = clock.monotonicMs() + durationMs;
  let next = 0;
  const loop = async () => {
    while (next < orders && !signal.aborted && clock.monotonicMs() < endMs)
      await place(next++, clock.monotonicMs());
  };
  await Promise.all(Array.from({ length: Math.min(inFlight, orders) }, loop));
  return result(0);
}

/**
 * Open loop: orders arrive evenly at a rate, whether or not earlier ones are answered. Latency counts from the
 * moment of
 * arrival, so that a stall of the system shows in every order that it held up.
 */
export async function runOpen(
  options: RunOptions & {
    readonly ratePerSecond: number;
    readonly durationMs: number;
    readonly orders?: number;
    /** Orders under way; more are dropped. OPEN_IN_FLIGHT_MAX by default. */
    readonly inFlightMax?: number;
  },
): Promise<RunResult> {
  const { clock, signal, ratePerSecond, durationMs, orders = Infinity } = options;
  const { inFlightMax = OPEN_IN_FLIGHT_MAX } = options;
  const { place, result } = recorder(options);
  const total = Math.min(orders, Math.max(1, Math.floor((ratePerSecond * durationMs) / 1_000)));
  const startedMs = clock.monotonicMs();
  const meantMs = (index: number) => startedMs + (index * 1_000) / ratePerSecond;
  const underWay = new Set<Promise<void>>();
  let dropped = 0;
  for (let next = 0; next < total && !signal.aborted;) {
    const nowMs = clock.monotonicMs();
    for (; next < total && meantMs(next) <= nowMs; next++) {
      if (underWay.size >= inFlightMax) {
        dropped++;
        continue;
      }
      const order: Promise<void> = place(next, meantMs(next)).finally(() => underWay.delete(order));
      underWay.add(order);
    }
    if (next < total) await sleep(clock, meantMs(next) - clock.monotonicMs(), signal);
  }
  await Promise.all(underWay);
  return result(dropped);
}
