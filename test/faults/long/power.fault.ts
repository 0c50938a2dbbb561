import { it } from "vitest";
import { faultRun, report, SERVERS } from "../harness/fault-run.ts";
import { disksOf, loopDisk, whyNoMounts } from "../harness/mounts.ts";

it.each(SERVERS)(
  "loses nothing that was acknowledged when the power is cut, three times, R%i",
  async (servers) => {
    const why = await whyNoMounts();
    if (why !== undefined) return report(`power cut: not run, ${why}`);
    await using all = await disksOf(servers, (_, place) => loopDisk(place));
    await faultRun({
      name: "power cut of every server at once, three times",
      nats: all.nats,
      load: { orders: 1_200, seed: 801, ratePerS: 100 },
      faults: async ({ load, hit }) => {
        for (const count of [200, 500, 800]) {
          await load.reached(count);
          hit();
          await Promise.all(all.disks.map((disk) => disk.cutPower()));
        }
      },
    });
  },
);

it.each(SERVERS)("loses nothing when the power of the first seconds is cut, R%i", async (servers) => {
  const why = await whyNoMounts();
  if (why !== undefined) return report(`early power cut: not run, ${why}`);
  await using all = await disksOf(servers, (_, place) => loopDisk(place));
  await faultRun({
    name: "power cut of every server right after the first order",
    nats: all.nats,
    load: { orders: 300, seed: 802, ratePerS: 100 },
    faults: async ({ load, hit }) => {
      await load.reached(1);
      hit();
      await Promise.all(all.disks.map((disk) => disk.cutPower()));
    },
  });
});
