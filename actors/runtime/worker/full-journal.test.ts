import { expect, it } from "vitest";
import { SampleActor } from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import { LIMITS } from "../limits.ts";
import { createSystem, ready } from "./worker-testing.ts";

const { method } = SampleActor;
/** What one command sends at once: more than a tenth of the journal. */
const RECEIVERS = 100;
const OPENED = 120;
const FAR_AWAY = 100_000_000;

it("withdraws an announcement that finds no room, so that the logs beside it let the journal be purged", async () => {
  const system = createSystem();
  const { clock, nats, topology } = system;
  const { log } = topology.streams;
  nats.setBytesMax(log, FAR_AWAY); // where there is a limit, workers look at the room all the time
  let current = system.worker("w0");
  await ready(system, current.worker);
  await ready(system, system.worker("p0", "analytics").worker);
  const keysOf = (at: number) =>
    Array.from({ length: 8 * OPENED }, (_, i) => `k${i}`).filter(
      (key) => topology.logOf("core", "demo", key) === at,
    );
  const [[busy = ""] = [], ...others] = [0, 1, 2, 3].map(keysOf);
  const keys = [busy, ...others.map(([key = ""]) => key)];
  for (const key of keys) await system.call(method.open, key, { amount: 1n });
  // What the others have read of this they have not written down when they change hands.
  for (const key of keysOf(0).slice(1, OPENED)) await system.call(method.open, key, { amount: 1n });
  // Owners that die of nothing that waits: the next one works one input at a time, each announced before.
  for (let life = 1; life <= LIMITS.crashLoopTakeoversMin; life++) {
    nats.crash(current.bus);
    current = system.worker(`w${life}`);
    await ready(system, current.worker);
  }
  const bus = nats.connect("look");
  const { bytes } = await system.finish(bus.status(log));
  nats.setBytesMax(log, Math.ceil(bytes / 0.86));
  await clock.pass(250);
  const calls = keys.map((key) => {
    const to = Array.from({ length: RECEIVERS }, (_, i) => `${key}-${i}`);
    const options = { requestId: `spread-${key}`, timeoutMs: 15_000 };
    return system.client.call(method.spread, { tenant: "demo", key }, { to, amount: 0n }, options);
  });
  for (const call of calls) call.catch(() => undefined);
  const results = await system.finish(Promise.allSettled(calls));
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled", "fulfilled"]);
}, 30_000);
