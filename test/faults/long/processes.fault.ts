import { describe, it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { faultRun, SERVERS } from "../harness/fault-run.ts";

/** A lease is 3 s. */
const PAST_LEASE_MS = 4_500;

describe.each(SERVERS)("processes with %i nats-server(s)", (servers) => {
  it("survives kill -9 of both gateways, one after another", async () => {
    await faultRun({
      name: "gateways killed in turn",
      servers,
      gateways: 2,
      load: { orders: 1_500, seed: 101, ratePerS: 120 },
      faults: async ({ system, load, hit }) => {
        for (const [index, count] of [200, 500, 800, 1_100].entries()) {
          await load.reached(count);
          hit();
          const gateway = system.gateways[index % 2];
          await gateway?.kill();
          await gateway?.start();
        }
      },
    });
  });

  it("survives kill -9 of workers of every group", async () => {
    await faultRun({
      name: "workers of all groups killed",
      servers,
      analyticsWorkers: 2,
      load: { orders: 1_500, seed: 102, ratePerS: 120 },
      faults: async ({ system, load, hit }) => {
        const victims = [...system.coreWorkers, ...system.analyticsWorkers];
        for (const [index, victim] of victims.entries()) {
          await load.reached(250 + index * 250);
          hit();
          await victim.kill();
          await sleep(systemClock, 500);
          await victim.start();
        }
      },
    });
  });

  it("gives logs to workers that join and takes them from workers that leave", async () => {
    await faultRun({
      name: "workers join and leave",
      servers,
      coreWorkers: 1,
      load: { orders: 1_500, seed: 103, ratePerS: 120 },
      faults: async ({ system, load, hit }) => {
        const [first] = system.coreWorkers;
        await load.reached(200);
        hit();
        const second = await system.add("core");
        await load.reached(500);
        const third = await system.add("core");
        await load.reached(700);
        hit();
        await first?.stop();
        if (first !== undefined) system.retire(first);
        await load.reached(1_000);
        hit();
        await Promise.all([second.stop(), system.add("core")]);
        system.retire(second);
        await load.reached(1_200);
        hit();
        await third.kill();
        system.retire(third);
      },
    });
  });

  it("fences a worker that was frozen past its lease, and goes on", async () => {
    await faultRun({
      name: "SIGSTOP of a worker past its lease, then SIGCONT",
      servers,
      load: { orders: 1_200, seed: 106, ratePerS: 100 },
      faults: async ({ system, load, hit }) => {
        for (const [index, count] of [200, 600].entries()) {
          await load.reached(count);
          hit();
          system.coreWorkers[index]?.freeze();
          await sleep(systemClock, PAST_LEASE_MS);
          system.coreWorkers[index]?.resume();
        }
      },
    });
  });

  it("survives a crash loop of its only worker", async () => {
    await faultRun({
      name: "crash loop of the only worker",
      servers,
      coreWorkers: 1,
      load: { orders: 1_000, seed: 104, ratePerS: 100 },
      faults: async ({ system, load, hit }) => {
        const [worker] = system.coreWorkers;
        await load.reached(300);
        for (const livesMs of [700, 900, 1_100, 1_300, 1_500, 600]) {
          hit();
          await worker?.kill();
          await worker?.start();
          await sleep(systemClock, livesMs);
        }
      },
    });
  });

  it("goes on when every process of it is killed at once", async () => {
    await faultRun({
      name: "all roles killed at once",
      servers,
      load: { orders: 1_000, seed: 105, ratePerS: 120 },
      faults: async ({ system, load, hit }) => {
        for (const count of [300, 600]) {
          await load.reached(count);
          hit();
          await Promise.all(system.processes.map((role) => role.kill()));
          await Promise.all(system.processes.map((role) => role.start()));
        }
      },
    });
  });
});
