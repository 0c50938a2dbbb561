import { it } from "vitest";
import { faultRun } from "./harness/fault-run.ts";

it("keeps what a gateway acknowledged before it was killed", async () => {
  await faultRun({
    name: "kill -9 of the gateway after an ack, three times",
    coreWorkers: 1,
    load: { orders: 1_200, seed: 33 },
    faults: async ({ system, load, hit }) => {
      const [gateway] = system.gateways;
      for (const count of [200, 500, 800]) {
        await load.reached(count);
        hit();
        await gateway?.kill();
        await gateway?.start();
      }
    },
  });
});
