import { it } from "vitest";
import { faultRun, report } from "../harness/fault-run.ts";
import { loopDisk, whyNoMounts } from "../harness/mounts.ts";

it("loses nothing that was acknowledged when the power is cut, three times", async () => {
  const why = await whyNoMounts();
  if (why !== undefined) return report(`power cut: not run, ${why}`);
  await using disk = await loopDisk();
  await faultRun({
    name: "power cut of the only server, three times",
    nats: [disk.server],
    load: { orders: 1_200, seed: 801, ratePerS: 100 },
    faults: async ({ load, hit }) => {
      for (const count of [200, 500, 800]) {
        await load.reached(count);
        hit();
        await disk.cutPower();
      }
    },
  });
});

it("loses nothing when the power of the first seconds is cut", async () => {
  const why = await whyNoMounts();
  if (why !== undefined) return report(`early power cut: not run, ${why}`);
  await using disk = await loopDisk();
  await faultRun({
    name: "power cut right after the first order",
    nats: [disk.server],
    load: { orders: 300, seed: 802, ratePerS: 100 },
    faults: async ({ load, hit }) => {
      await load.reached(1);
      hit();
      await disk.cutPower();
    },
  });
});
