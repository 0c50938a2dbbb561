import { expect, it } from "vitest";
import { seededRandom } from "../../../platform/random.ts";
import { MemoryNats, noFaults } from "../bus/bus-memory.ts";
import { HandClock } from "../client/client-testing.ts";
import { LIMITS } from "../limits.ts";
import { createTopology } from "../topology.ts";
import { Membership } from "./membership.ts";

function world() {
  const clock = new HandClock();
  const topology = createTopology();
  const nats = new MemoryNats({ clock, random: seededRandom(1) });
  nats.ensure(topology);
  const members: Membership[] = [];
  const join = (workerId: string) => {
    const bus = nats.connect(workerId);
    const options = { bus, clock, topology, group: "core", workerId, contracts: "one", knows: [] };
    const membership = new Membership(options);
    membership.start();
    members.push(membership);
    return {
      membership,
      crash: () => nats.crash(bus),
      freeze: () => nats.freeze(bus),
      resume: () => nats.resume(bus),
    };
  };
  const pass = async () => {
    await clock.pass(50);
    for (const member of members) member.tick();
  };
  /** Milliseconds until it is so, looked at as often as a worker does. */
  const untilMs = async (condition: () => boolean) => {
    const startMs = clock.monotonicMs();
    while (!condition() && clock.monotonicMs() - startMs < 10_000) await pass();
    return clock.monotonicMs() - startMs;
  };
  return { clock, nats, join, pass, untilMs };
}

it("takes a worker for gone when its lease has run out, and not before", async () => {
  const { clock, join, untilMs } = world();
  const first = join("w1");
  const { membership } = join("w2");
  await clock.pass(10_000);
  const { life } = first.membership;
  expect(membership.isGone(life)).toBe(false);
  first.freeze();
  const goneMs = await untilMs(() => membership.isGone(life));
  expect(goneMs).toBeGreaterThan(LIMITS.leaseMs - LIMITS.leaseRenewMs - 100);
  expect(goneMs).toBeLessThan(LIMITS.leaseMs + 2 * LIMITS.leaseRenewMs + 100);
});

it("does not wait so long for a worker that is not connected any more, nor leaves it any log", async () => {
  const { clock, join, untilMs } = world();
  const first = join("w1");
  const { membership } = join("w2");
  await clock.pass(10_000);
  const { life } = first.membership;
  first.crash();
  const goneMs = await untilMs(() => membership.isGone(life));
  expect(goneMs).toBeGreaterThan(LIMITS.leaseSuspectMs - LIMITS.leaseRenewMs - 100);
  expect(goneMs).toBeLessThan(LIMITS.leaseSuspectMs + 2 * LIMITS.leaseRenewMs + 100);
  expect(membership.live()).toEqual(["w2"]);
});

it("asks a worker that is late, and believes that nobody is there only while it is late", async () => {
  const { nats, join, pass } = world();
  const first = join("w1");
  const { membership } = join("w2");
  nats.faults = { ...noFaults, operation: () => ({ isUnheard: true }) };
  for (let i = 0; i < 200; i++) {
    await pass();
    expect(membership.isGone(first.membership.life)).toBe(false);
  }
  expect(membership.live()).toEqual(["w1", "w2"]);
});

it("does not wait for a lease that had run out before it began to listen", async () => {
  const { clock, join, untilMs } = world();
  const first = join("w1");
  await clock.pass(5_000);
  first.crash();
  await clock.pass(2_500);
  const { membership } = join("w2");
  const goneMs = await untilMs(() => membership.isGone(first.membership.life));
  expect(goneMs).toBeGreaterThan(500);
  expect(goneMs).toBeLessThan(2_500);
});

it("gives a living worker time to be heard, however old its lease is by the server's clock", async () => {
  const { clock, join, pass } = world();
  const first = join("w1");
  await clock.pass(5_000);
  const { membership } = join("w2");
  for (let i = 0; i < 100; i++) {
    await pass();
    expect(membership.isGone(first.membership.life)).toBe(false);
  }
});

it("is reluctant for one that has just come, until it has heard the others for a while", async () => {
  const { join, pass, untilMs } = world();
  const first = join("w1");
  await untilMs(() => false);
  join("w2");
  await pass();
  const { membership } = first;
  expect(membership.reluctance("w1", 0)).toBe(0);
  expect(membership.reluctance("w2", 0)).toBe(1);
  const settledMs = await untilMs(() => membership.reluctance("w2", 0) === 0);
  expect(settledMs).toBeGreaterThan(LIMITS.leaseSuspectMs);
});

it("counts a lease as broken once the worker may have been replaced as one without a connection (J23)", async () => {
  const { clock, join } = world();
  const { membership, freeze, resume } = join("w1");
  await clock.pass(2_000);
  const since = membership.unbrokenSinceMs;
  freeze();
  await clock.pass(LIMITS.leaseSuspectMs - 2 * LIMITS.leaseRenewMs);
  resume();
  await clock.pass(LIMITS.leaseRenewMs);
  expect(membership.unbrokenSinceMs).toBe(since);
  freeze();
  await clock.pass(LIMITS.leaseSuspectMs + 100);
  resume();
  await clock.pass(LIMITS.leaseRenewMs);
  expect(membership.unbrokenSinceMs).toBeGreaterThan(since);
});
