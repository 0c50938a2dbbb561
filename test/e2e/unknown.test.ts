import { expect, it } from "vitest";
import { Generator } from "../../bench/generator.ts";
import { UNKNOWN_SHARE_MAX } from "../../bench/measure.ts";
import { USUAL_ORDERS } from "../../bench/row.ts";
import { startSystem } from "./system.ts";

const ORDERS = 3_000;
const IN_FLIGHT = 64;
/** Above it the run is cut, and what is missing is not counted as sent. */
const RUN_MS_MAX = 90_000;

it("I14 leaves hardly any outcome open while nothing is broken", async () => {
  await using system = await startSystem();
  const generator = new Generator(system.url, USUAL_ORDERS, new AbortController().signal);
  await generator.prepare();
  const load = { orders: ORDERS, inFlight: IN_FLIGHT, connectionsMax: IN_FLIGHT, durationMs: RUN_MS_MAX };
  const { tally } = await generator.closed({ ...load, wait: "settled" });
  expect(tally.done + tally.failed).toBe(ORDERS);
  expect(tally.unknown, [...tally.messages].join("; ")).toBeLessThanOrEqual(ORDERS * UNKNOWN_SHARE_MAX);
});
