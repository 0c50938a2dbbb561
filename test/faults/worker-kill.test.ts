import { it } from "vitest";
import { faultRun } from "./harness/fault-run.ts";

it("loses and doubles nothing when a worker and nats-server are killed in the middle of 2,000 orders", async () => {
  await faultRun({
    name: "kill -9 of a worker, of nats-server, of the other worker",
    load: { orders: 2_000, seed: 11 },
    faults: async ({ system, load, hit }) => {
      const [first, second] = system.coreWorkers;
      const [nats] = system.nats;
      await load.reached(400);
      hit();
      await first?.kill();
      await load.reached(800);
      await first?.start();
      await load.reached(1_000);
      hit();
      await nats?.kill();
      await nats?.restart();
      await load.reached(1_500);
      hit();
      await second?.kill();
      await second?.start();
    },
  });
});
