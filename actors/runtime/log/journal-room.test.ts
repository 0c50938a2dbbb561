import { expect, it } from "vitest";
import { seededRandom } from "../../../platform/random.ts";
import { MemoryNats } from "../bus/bus-memory.ts";
import { HandClock } from "../client/client-testing.ts";
import { LIMITS } from "../limits.ts";
import { createTopology } from "../topology.ts";
import { JournalRoom } from "./journal-room.ts";

const BYTES_MAX = 60_000;

async function createRoom() {
  const clock = new HandClock();
  const topology = createTopology({ logs: 4 });
  const nats = new MemoryNats({ clock, random: seededRandom(1) });
  nats.ensure(topology);
  const { log } = topology.streams;
  nats.setBytesMax(log, BYTES_MAX);
  const bus = nats.connect("worker");
  const room = new JournalRoom(bus, clock, log);
  const finish = async <T>(work: Promise<T>): Promise<T> => {
    await clock.pass(10);
    return work;
  };
  await finish(room.look());
  const append = async (at: number, bytes: number) => {
    const data = new Uint8Array(bytes);
    const headers = { "Tw-To": "core.1,core.2,core.3" };
    const outcome = await bus.append({ subject: topology.log("core", at), data, headers });
    if (outcome.kind !== "stored") return { kind: "full" as const };
    return { kind: "committed" as const, sequence: outcome.sequence };
  };
  const pressure = async () => (await finish(bus.status(log))).bytes / BYTES_MAX;
  const purge = () => finish(bus.purge(log, topology.log("core", 0)));
  return { room, append, finish, pressure, purge };
}

it("keeps room for positions, however small the commits are that come before it has asked again", async () => {
  const { room, append, finish, pressure } = await createRoom();
  while (room.fits(50, "drain")) await finish(room.storing(50, append(0, 50)));
  expect(await pressure()).toBeLessThanOrEqual(LIMITS.logPositionsOnlyAt);
});

it("keeps room for drains, and lets no commands in their way until there is more of it", async () => {
  const { room, append, finish, pressure, purge } = await createRoom();
  await finish(room.storing(0.85 * BYTES_MAX, append(0, 0.85 * BYTES_MAX)));
  const bytes = 0.07 * BYTES_MAX;
  expect([room.fits(bytes, "commands"), room.fits(bytes, "drain")]).toEqual([false, true]);
  room.refused("commands");
  await finish(room.look());
  expect(room.allowed).toBe("drain");
  await finish(room.storing(bytes, append(1, bytes)));
  expect(await pressure()).toBeLessThanOrEqual(LIMITS.logPositionsOnlyAt);
  await purge();
  await finish(room.look());
  expect([room.allowed, room.fits(bytes, "commands")]).toEqual(["all", true]);
});

it("gives the same room to one log only", async () => {
  const { room, append, finish, pressure } = await createRoom();
  const bytes = 0.4 * BYTES_MAX;
  const stored: Promise<unknown>[] = [];
  for (let log = 0; log < 4; log++)
    if (room.fits(bytes, "drain")) stored.push(room.storing(bytes, append(log, bytes)));
  await finish(Promise.all(stored));
  expect(stored).toHaveLength(2);
  expect(await pressure()).toBeLessThanOrEqual(LIMITS.logPositionsOnlyAt);
  await finish(room.storing(bytes, append(0, bytes))).catch(() => undefined);
  expect(room.fits(0.1 * BYTES_MAX, "drain")).toBe(true); // what was refused takes nothing
});

it("forgets what never ended", async () => {
  const { room } = await createRoom();
  const bytes = 0.9 * BYTES_MAX;
  await expect(room.storing(bytes, Promise.reject(new Error("stopped")))).rejects.toThrow("stopped");
  expect(room.fits(bytes, "drain")).toBe(true);
});
