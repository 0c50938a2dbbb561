import { expect, it } from "vitest";
import { seededRandom } from "../../../platform/random.ts";
import { MemoryNats } from "../bus/bus-memory.ts";
import { HandClock } from "../client/client-testing.ts";
import { createTopology } from "../topology.ts";
import { Membership } from "./membership.ts";

function world() {
  const clock = new HandClock();
  const topology = createTopology();
  const nats = new MemoryNats({ clock, random: seededRandom(1) });
  nats.ensure(topology);
  const join = (workerId: string) => {
    const bus = nats.connect(workerId);
    const options = { bus, clock, topology, group: "core", workerId, contracts: "one", knows: [] };
    const membership = new Membership(options);
    membership.start();
    return { membership, crash: () => nats.crash(bus) };
  };
  /** Milliseconds until it is so, looked at as often as a worker does. */
  const untilMs = async (condition: () => boolean) => {
    const startMs = clock.monotonicMs();
    while (!condition() && clock.monotonicMs() - startMs < 10_000) await clock.pass(50);
    return clock.monotonicMs() - startMs;
  };
  return { clock, join, untilMs };
}

it("takes a worker for gone when its lease has run out, and not before", async () => {
  const { clock, join, untilMs } = world();
  const first = join("w1");
  const { membership } = join("w2");
  await clock.pass(10_000);
  const { life } = first.membership;
  expect(membership.isGone(life)).toBe(false);
  first.crash();
  const goneMs = await untilMs(() => membership.isGone(life));
  expect(goneMs).toBeGreaterThan(2_400);
  expect(goneMs).toBeLessThan(4_500);
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
  const { clock, join } = world();
  const first = join("w1");
  await clock.pass(5_000);
  const { membership } = join("w2");
  for (let i = 0; i < 100; i++) {
    await clock.pass(50);
    expect(membership.isGone(first.membership.life)).toBe(false);
  }
});
