import { describe, it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { faultRun } from "../harness/fault-run.ts";
import { leaderOf } from "../harness/nats-admin.ts";

/** A server that answers no ping is given up after this; see platform/nats.ts. */
const PAST_PINGS_MS = 17_000;

describe("one nats-server", () => {
  it("is frozen for some seconds", async () => {
    await faultRun({
      name: "SIGSTOP of nats-server for 6 s",
      load: { orders: 1_200, seed: 201, ratePerS: 120 },
      faults: async ({ system, load, hit }) => {
        const [nats] = system.nats;
        await load.reached(400);
        hit();
        nats?.freeze();
        await sleep(systemClock, 6_000);
        nats?.resume();
      },
    });
  });

  it("is killed again and again", async () => {
    await faultRun({
      name: "kill -9 of nats-server, five times",
      load: { orders: 1_500, seed: 202, ratePerS: 120 },
      faults: async ({ system, load, hit }) => {
        const [nats] = system.nats;
        for (const count of [200, 450, 700, 950, 1_200]) {
          await load.reached(count);
          hit();
          await nats?.kill();
          await nats?.restart();
        }
      },
    });
  });

  it("is stopped in order and comes back", async () => {
    await faultRun({
      name: "SIGTERM of nats-server",
      load: { orders: 1_000, seed: 203, ratePerS: 120 },
      faults: async ({ system, load, hit }) => {
        await load.reached(400);
        hit();
        await system.nats[0]?.restart();
      },
    });
  });
});

describe("three nats-servers", () => {
  it("lose the leader of the journal, twice", async () => {
    await faultRun({
      name: "kill -9 of the journal's leader, twice",
      servers: 3,
      load: { orders: 1_500, seed: 204, ratePerS: 100 },
      faults: async ({ system, load, hit }) => {
        for (const count of [300, 800]) {
          await load.reached(count);
          const leader = await leaderOf(system, "LOG");
          hit();
          await leader.kill();
          await load.reached(count + 250);
          await leader.restart();
        }
      },
    });
  });

  it("lose a follower, twice", async () => {
    await faultRun({
      name: "kill -9 of one server that does not lead the journal, twice",
      servers: 3,
      load: { orders: 1_200, seed: 209, ratePerS: 100 },
      faults: async ({ system, load, hit }) => {
        for (const count of [300, 700]) {
          await load.reached(count);
          const leader = await leaderOf(system, "LOG");
          const follower = system.nats.find((server) => server !== leader);
          hit();
          await follower?.kill();
          await load.reached(count + 200);
          await follower?.restart();
        }
      },
    });
  });

  it("are all killed at once", async () => {
    await faultRun({
      name: "kill -9 of all three servers, twice",
      servers: 3,
      load: { orders: 1_200, seed: 205, ratePerS: 100 },
      faults: async ({ system, load, hit }) => {
        for (const count of [300, 700]) {
          await load.reached(count);
          hit();
          await Promise.all(system.nats.map((server) => server.kill()));
          await Promise.all(system.nats.map((server) => server.restart()));
        }
      },
    });
  });

  it("have a frozen follower that comes back", async () => {
    await faultRun({
      name: "SIGSTOP of a follower for 8 s",
      servers: 3,
      load: { orders: 1_500, seed: 206, ratePerS: 100 },
      faults: async ({ system, load, hit }) => {
        await load.reached(300);
        const leader = await leaderOf(system, "LOG");
        const follower = system.nats.find((server) => server !== leader);
        hit();
        follower?.freeze();
        await sleep(systemClock, 8_000);
        follower?.resume();
      },
    });
  });

  it("have a frozen leader that comes back and believes that it still leads", async () => {
    await faultRun({
      name: "SIGSTOP of the journal's leader for 17 s",
      servers: 3,
      load: { orders: 1_500, seed: 207, ratePerS: 100 },
      faults: async ({ system, load, hit }) => {
        await load.reached(300);
        const leader = await leaderOf(system, "LOG");
        hit();
        leader.freeze();
        await sleep(systemClock, PAST_PINGS_MS);
        leader.resume();
      },
    });
  });

  it("are restarted one by one", async () => {
    await faultRun({
      name: "rolling SIGTERM of three servers",
      servers: 3,
      load: { orders: 1_500, seed: 208, ratePerS: 100 },
      faults: async ({ system, load, hit }) => {
        for (const [index, server] of system.nats.entries()) {
          await load.reached(300 + index * 350);
          hit();
          await server.restart();
          await system.cluster?.waitUntilReady();
        }
      },
    });
  });
});
