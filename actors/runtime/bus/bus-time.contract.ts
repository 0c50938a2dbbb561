import { describe, expect, it } from "vitest";
import { BusError, type StoredMessage } from "./bus.ts";
import { bytes, type ContractContext, text } from "./bus-context.contract.ts";

/** What happens by itself and what happens over a crash, on both buses. */
export function timeContract(c: ContractContext): void {
  describe("time", () => {
    const timer = (at: number, arm: string) => c.t.timer("core", at, "order", "acme", "K", arm);

    it("publishes a schedule to its target when it is due, once", async () => {
      const at = c.fresh();
      const atMs = c.world.nowMs() + 1_000;
      const schedule = { atMs, target: c.t.inbox("core", at) };
      await c.bus.append({
        subject: timer(at, "a"),
        data: bytes("tick"),
        headers: { "Tw-Timer": "x" },
        schedule,
      });
      expect(await c.bus.last(c.t.streams.inbox, c.t.inbox("core", at))).toBeUndefined();
      const seen: StoredMessage[] = [];
      const filters = [c.t.inbox("core", at)];
      const reader = c.bus.read({
        stream: c.t.streams.inbox,
        filters,
        from: { sequence: 1 },
        onMessage: (m) => seen.push(m),
      });
      await c.until(() => seen.length > 0, "the schedule fires");
      expect(text(seen[0] as StoredMessage)).toBe("tick");
      expect(seen[0]?.headers).toMatchObject({ "Tw-Timer": "x" });
      expect(seen[0]?.timestampMs).toBeGreaterThanOrEqual(atMs - 50);
      await c.world.pass(500);
      expect(seen).toHaveLength(1);
      expect(await c.bus.subjects(c.t.streams.inbox, timer(at, "*"))).toEqual(new Map());
      reader.close();
    });

    it("forgets a schedule that is purged, and keeps the newest of a subject", async () => {
      const at = c.fresh();
      const schedule = { atMs: c.world.nowMs() + 1_200, target: c.t.inbox("core", at) };
      await c.bus.append({ subject: timer(at, "gone"), data: bytes("gone"), schedule });
      await c.bus.append({ subject: timer(at, "kept"), data: bytes("old"), schedule });
      await c.bus.append({ subject: timer(at, "kept"), data: bytes("new"), schedule });
      expect(await c.bus.purge(c.t.streams.inbox, timer(at, "gone"))).toBe(1);
      await c.world.pass(2_500);
      const fired = await c.range(c.t.streams.inbox, c.t.inbox("core", at), 0, 10);
      expect(fired.map(text)).toEqual(["new"]);
    });

    it("deletes a message whose time to live is over, unless it was written again", async () => {
      const at = c.fresh();
      const lease = (worker: string) => ({ subject: c.t.lease("core", `${worker}${at}`), data: bytes("1") });
      await c.bus.append({ ...lease("dies"), ttlSeconds: 1 });
      await c.bus.append({ ...lease("lives"), ttlSeconds: 1 });
      await c.bus.append({ ...lease("lives"), ttlSeconds: 600 });
      await c.world.pass(2_500);
      const found = await c.lastMany(c.t.streams.leases, [lease("dies").subject, lease("lives").subject]);
      expect([...found.keys()]).toEqual([lease("lives").subject]);
    });
  });

  describe("over a crash of all servers", () => {
    it("says unknown and throws while there is none, and heals", async () => {
      const subject = c.t.inbox("core", c.fresh());
      await c.world.stopServers();
      await c.until(() => !c.bus.isConnected(), "disconnected");
      expect(await c.bus.append({ subject, data: bytes("a") })).toMatchObject({ kind: "unknown" });
      expect(
        await c.bus.appendBatch([{ subject: c.t.record("a", "b", "c"), data: bytes("a") }]),
      ).toMatchObject({ kind: "unknown" });
      await expect(c.bus.last(c.t.streams.inbox, subject)).rejects.toThrow(BusError);
      await expect(c.bus.lastMany(c.t.streams.inbox, [subject])).rejects.toThrow(BusError);
      expect(await c.bus.request("read.core.0", bytes("?"), 500)).toBe("silence");
      await c.world.startServers();
      await c.until(() => c.bus.isConnected(), "connected");
      await c.insist(subject, "b");
    });

    it("reads, works and fires what was due, without gap or repeat", async () => {
      const at = c.fresh();
      const queue = `q${at}`;
      const subject = c.t.log("core", at);
      const seen: string[] = [];
      const tasks = new Set<string>();
      const reader = c.bus.read({
        stream: c.t.streams.log,
        filters: [subject],
        from: { sequence: 1 },
        onMessage: (message) => seen.push(text(message)),
      });
      const puller = c.bus.pull({
        stream: c.t.streams.tasks,
        consumer: c.t.consumer(queue),
        description: "Tradewind: contract",
        filter: c.t.task(queue, "*", "*", "*"),
        ackWaitMs: 1_000,
        ackPendingMax: 100,
        inFlightMax: 10,
        onDelivery: (delivery) => {
          tasks.add(text(delivery.message));
          delivery.ack();
        },
      });
      const schedule = { atMs: c.world.nowMs() + 1_000, target: c.t.inbox("core", at) };
      await c.bus.append({
        subject: c.t.timer("core", at, "order", "acme", "K", "a"),
        data: bytes("tick"),
        schedule,
      });
      const write = async (from: number, to: number) => {
        for (let i = from; i < to; i++) await c.insist(subject, `${i}`);
        for (let i = from; i < to; i += 10) await c.insist(c.t.task(queue, "acme", "K", `${i}`), `${i}`);
      };
      await write(0, 50);
      await c.world.stopServers();
      await c.world.pass(1_500);
      await c.world.startServers();
      await write(50, 100);
      await c.until(() => seen.includes("99") && tasks.size === 10, "everything");
      // A repeat in the stream is the writer's: its append was stored, the answer was lost.
      expect([...new Set(seen)]).toEqual(Array.from({ length: 100 }, (_, i) => `${i}`));
      const stored = await c.range(c.t.streams.log, subject, 0, 1_000);
      expect(seen).toEqual(stored.map(text));
      const read = () => c.range(c.t.streams.inbox, c.t.inbox("core", at), 0, 10);
      // Until the stream has its leader nobody answers.
      const fired = async () => (await read().catch(() => [])).map(text);
      for (let tries = 0; tries < 200 && (await fired()).length === 0; tries++) await c.world.pass(50);
      expect(new Set(await fired())).toEqual(new Set(["tick"]));
      reader.close();
      puller.close();
    });
  });
}
