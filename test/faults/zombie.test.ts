import { it } from "vitest";
import { sleep, systemClock } from "../../platform/clock.ts";
import { faultRun } from "./harness/fault-run.ts";

/** A lease is 3 s. */
const PAST_LEASE_MS = 4_500;

it("fences a worker that was frozen past its lease and goes on", async () => {
  await faultRun({
    name: "SIGSTOP of a worker past its lease, then SIGCONT",
    load: { orders: 2_000, seed: 22 },
    faults: async ({ system, load, hit }) => {
      const [first, second] = system.coreWorkers;
      await load.reached(300);
      hit();
      first?.freeze();
      await sleep(systemClock, PAST_LEASE_MS);
      first?.resume();
      await load.reached(1_200);
      hit();
      second?.freeze();
      await sleep(systemClock, PAST_LEASE_MS);
      second?.resume();
    },
  });
});
