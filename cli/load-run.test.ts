import { describe, expect, it } from "vitest";
import { sleep, systemClock } from "../platform/clock.ts";
import { OPEN_IN_FLIGHT_MAX, type PlaceOrder, runClosed, runOpen } from "./load-run.ts";
import type { Outcome } from "./outcome.ts";
import { cpuNumbers, loadTable, numbersOf, seedLines } from "./report.ts";

const confirmed: Outcome = { ok: true, status: "CONFIRMED", reason: "", isReplayed: false };
const failed: Outcome = { ok: false, code: "unavailable", message: "gone", retryAfterMs: 0 };
const clock = systemClock;
const { signal } = new AbortController();

describe("a closed loop", () => {
  it("keeps so many orders under way and no more", async () => {
    let underWay = 0;
    let most = 0;
    const place: PlaceOrder = async () => {
      most = Math.max(most, ++underWay);
      await sleep(clock, 1);
      underWay--;
      return confirmed;
    };
    const { tally } = await runClosed({ clock, signal, place, inFlight: 4, orders: 20 });
    expect(tally.done).toBe(20);
    expect(most).toBe(4);
  });

  it("ends when it is interrupted", async () => {
    const abort = new AbortController();
    const place: PlaceOrder = async (index) => {
      if (index === 5) abort.abort();
      return confirmed;
    };
    const { tally } = await runClosed({ clock, signal: abort.signal, place, inFlight: 1, orders: 1_000 });
    expect(tally.done).toBe(6);
  });

  it("never counts a failure or a repeat as throughput", async () => {
    const outcomes: Outcome[] = [confirmed, failed, failed, { ...confirmed, isReplayed: true }];
    const place: PlaceOrder = async (index) => outcomes[index] ?? failed;
    const result = await runClosed({ clock, signal, place, inFlight: 1, orders: 4 });
    const numbers = numbersOf({ ...result, elapsedMs: 1_000 });
    expect(numbers).toMatchObject({ total: 4, success: 2, failed: 2, replayed: 1, ordersPerSecond: 1 });
    expect([result.latency.count, result.refused.count]).toEqual([2, 2]);
    expect(numbers.failures).toEqual({ unavailable: 2 });
    expect(seedLines(numbers).join("\n")).toContain("1 of them had been placed before");
  });
});

describe("an open loop", () => {
  it("starts each order when it is due, and counts its wait from then", async () => {
    let isFirst = true;
    // The first order holds the whole generator up, as a stall of its one thread does.
    const place: PlaceOrder = async () => {
      const untilMs = clock.monotonicMs() + (isFirst ? 100 : 0);
      isFirst = false;
      while (clock.monotonicMs() < untilMs) continue;
      return confirmed;
    };
    const { tally, latency } = await runOpen({ clock, signal, place, ratePerSecond: 1_000, durationMs: 200 });
    expect(tally.done).toBe(200);
    // About half of the orders were due during the stall: their wait must show though each was answered at once.
    expect(latency.p90Ms).toBeGreaterThan(50);
  });

  it("drops and counts what is more than it may hold", async () => {
    const gate = Promise.withResolvers<Outcome>();
    const run = runOpen({
      clock,
      signal,
      place: () => gate.promise,
      ratePerSecond: 1_000_000,
      durationMs: 5,
    });
    await sleep(clock, 30);
    gate.resolve(confirmed);
    const { tally, dropped } = await run;
    expect(tally.done).toBe(OPEN_IN_FLIGHT_MAX);
    expect(dropped).toBe(5_000 - OPEN_IN_FLIGHT_MAX);
  });
});

describe("the table", () => {
  it("has a row for each run with the CPU of all processes", async () => {
    const result = await runClosed({ clock, signal, place: async () => confirmed, inFlight: 1, orders: 10 });
    const numbers = numbersOf({ ...result, elapsedMs: 100 });
    const trees = (seconds: number) => [{ root: 1, name: "gateway", seconds, processes: 1 }];
    const cpu = cpuNumbers(trees(1), trees(1.01), 10);
    expect(cpu).toEqual([{ name: "gateway", pid: 1, secondsPer1000: 1 }]);
    const [, row] = loadTable([{ name: "1 in flight", numbers, cpu, generatorSecondsPer1000: 0.04 }]);
    expect(row).toMatch(/^1 in flight\s+10\s+0\s+100 /);
    expect(row).toContain("1.000");
  });
});
