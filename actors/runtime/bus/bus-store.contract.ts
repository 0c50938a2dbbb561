import { describe, expect, it } from "vitest";
import { DefectError } from "../assert.ts";
import { type AppendOutcome, BusError, type StoredMessage } from "./bus.ts";
import { bytes, type ContractContext, storedSequence, text } from "./bus-context.contract.ts";

/** What a stream keeps and by which rules, on both buses. */
export function storeContract(c: ContractContext): void {
  describe("appends", () => {
    it("stores what is appended, with its headers, and finds it again", async () => {
      const subject = c.t.inbox("core", c.fresh());
      const before = c.world.nowMs();
      const headers = { "Tw-Kind": "order", "Tw-Trace": "a b:c" };
      const sequence = storedSequence(
        await c.bus.append({ subject, data: bytes("hello"), headers, messageId: subject }),
      );
      const found = await c.bus.last(c.t.streams.inbox, subject);
      expect(found).toMatchObject({ subject, sequence, headers });
      expect(text(found as StoredMessage)).toBe("hello");
      expect(found?.timestampMs).toBeGreaterThan(before - 5_000);
      expect(await c.bus.get(c.t.streams.inbox, sequence)).toMatchObject({ subject, sequence, headers });
      expect(await c.bus.get(c.t.streams.inbox, sequence + 1_000_000)).toBeUndefined();
      expect(await c.bus.last(c.t.streams.inbox, c.t.inbox("core", c.fresh()))).toBeUndefined();
    });

    it("finds the newest of all that match a filter", async () => {
      const [tenant, kind] = [`t${c.fresh()}`, "product"];
      const of = (key: string) => ({ subject: c.t.event(tenant, kind, key, "created"), data: bytes(key) });
      const filter = c.t.event(tenant, "*", "*", ">");
      expect(await c.bus.last(c.t.streams.events, filter)).toBeUndefined();
      for (const key of ["a", "b", "a"]) await c.bus.append(of(key));
      const sequence = storedSequence(await c.bus.append(of("b")));
      expect(await c.bus.last(c.t.streams.events, filter)).toMatchObject({ ...of("b"), sequence });
    });

    it("compares and sets: one of many writers wins", async () => {
      const subject = c.t.log("core", c.fresh());
      for (let round = 0, expectLastSequence = 0; round < 5; round++) {
        const writers = Array.from({ length: 8 }, (_, i) =>
          c.bus.append({ subject, data: bytes(`${i}`), expectLastSequence }),
        );
        const outcomes = await Promise.all(writers);
        const winners = outcomes.filter(({ kind }) => kind === "stored");
        expect(winners).toHaveLength(1);
        // R3 does not always know at once who lost.
        for (const { kind } of outcomes) expect(["stored", "conflict", "unknown"]).toContain(kind);
        expectLastSequence = storedSequence(winners[0] as AppendOutcome);
        expect((await c.bus.last(c.t.streams.log, subject))?.sequence).toBe(expectLastSequence);
      }
    });

    it("says conflict for a stale expectation when nothing is in flight", async () => {
      const subject = c.t.log("core", c.fresh());
      const sequence = storedSequence(
        await c.bus.append({ subject, data: bytes("a"), expectLastSequence: 0 }),
      );
      await c.world.pass(50);
      expect(await c.bus.append({ subject, data: bytes("b"), expectLastSequence: 0 })).toEqual({
        kind: "conflict",
      });
      expect(await c.bus.append({ subject, data: bytes("b"), expectLastSequence: sequence })).toMatchObject({
        kind: "stored",
      });
    });

    it("takes a repeated message id for the message it has", async () => {
      const subject = c.t.inbox("core", c.fresh());
      const first = await c.bus.append({ subject, data: bytes("a"), messageId: `id-${subject}` });
      const again = await c.bus.append({ subject, data: bytes("a"), messageId: `id-${subject}` });
      expect(again).toEqual({ kind: "stored", sequence: storedSequence(first), duplicate: true });
      expect(await c.bus.subjects(c.t.streams.inbox, subject)).toEqual(new Map([[subject, 1]]));
    });

    it("refuses what can never be stored", async () => {
      const subject = c.t.log("core", c.fresh());
      const tooLarge = await c.bus.append({ subject, data: new Uint8Array(1_100_000) });
      expect(tooLarge).toMatchObject({ kind: "refused", full: false });
      const schedule = { atMs: c.world.nowMs() + 60_000, target: c.t.log("core", c.fresh()) };
      expect(await c.bus.append({ subject, data: bytes("a"), schedule })).toMatchObject({
        kind: "refused",
        full: false,
      });
      expect(await c.bus.append({ subject, data: bytes("a"), ttlSeconds: 5 })).toMatchObject({
        kind: "refused",
        full: false,
      });
      expect(await c.bus.last(c.t.streams.log, subject)).toBeUndefined();
    });

    it("does not know what becomes of a message for no stream", async () => {
      expect(await c.bus.append({ subject: "nowhere.at.all", data: bytes("a") })).toMatchObject({
        kind: "unknown",
      });
    });
  });

  describe("atomic batches", () => {
    const record = (key: string, data: string, expectLastSequence?: number) => ({
      subject: c.t.record("order", "acme", key),
      data: bytes(data),
      headers: { "Tw-Batch": data },
      ...(expectLastSequence === undefined ? {} : { expectLastSequence }),
    });

    it("stores all in order and tells the sequence of the last", async () => {
      const at = c.fresh();
      const keys = Array.from({ length: 900 }, (_, i) => `K${at}-${i}`);
      const sequence = storedSequence(await c.bus.appendBatch(keys.map((key) => record(key, "v", 0))));
      const found = await c.lastMany(
        c.t.streams.actors,
        keys.map((key) => c.t.record("order", "acme", key)),
      );
      expect(found.size).toBe(900);
      expect([...found.values()].map((message) => message.sequence).toSorted((a, b) => a - b)).toEqual(
        keys.map((_, i) => sequence - 899 + i),
      );
      expect(found.get(c.t.record("order", "acme", `K${at}-7`))?.headers).toEqual({ "Tw-Batch": "v" });
    });

    it("stores none if one expectation fails", async () => {
      const at = c.fresh();
      const first = storedSequence(await c.bus.appendBatch([record(`A${at}`, "1", 0)]));
      const stale = await c.bus.appendBatch([
        record(`B${at}`, "1"),
        record(`A${at}`, "2", first + 1),
        record(`C${at}`, "1"),
      ]);
      expect(stale).toEqual({ kind: "conflict" });
      const found = await c.lastMany(
        c.t.streams.actors,
        ["A", "B", "C"].map((key) => c.t.record("order", "acme", `${key}${at}`)),
      );
      expect([...found.values()].map(text)).toEqual(["1"]);
      const right = await c.bus.appendBatch([record(`B${at}`, "1"), record(`A${at}`, "2", first)]);
      expect(right).toMatchObject({ kind: "stored", sequence: first + 2 });
    });

    it("refuses a stream that takes no batches, and too many messages", async () => {
      const at = c.fresh();
      const log = await c.bus.appendBatch([{ subject: c.t.log("core", at), data: bytes("a") }]);
      expect(log).toMatchObject({ kind: "refused", full: false });
      expect(() =>
        c.bus.appendBatch(Array.from({ length: 1_001 }, (_, i) => record(`T${at}-${i}`, "v"))),
      ).toThrow(DefectError);
      expect(() => c.bus.appendBatch([])).toThrow(DefectError);
    });
  });

  describe("what a stream holds", () => {
    it("gives ranges in order, page by page", async () => {
      const at = c.fresh();
      const [mine, other] = [c.t.inbox("core", at), c.t.inbox("core", c.fresh())];
      const all = Array.from({ length: 1_200 }, (_, i) =>
        c.bus.append({ subject: i % 3 === 0 ? other : mine, data: bytes(`${i}`) }),
      );
      const sequences = (await Promise.all(all)).map(storedSequence).filter((_, i) => i % 3 !== 0);
      const found: StoredMessage[] = [];
      for (let from = 0; ; from = (found.at(-1)?.sequence ?? 0) + 1) {
        const page = await c.range(c.t.streams.inbox, mine, from, 300);
        if (page.length === 0) break;
        expect(page.length).toBe(Math.min(300, 800 - found.length));
        found.push(...page);
      }
      expect(found.map(({ sequence }) => sequence)).toEqual(sequences);
      expect(await c.range(c.t.streams.inbox, mine, sequences[700] ?? 0, 5_000)).toHaveLength(100);
      expect(await c.range(c.t.streams.inbox, mine, (sequences.at(-1) ?? 0) + 1, 10)).toEqual([]);
    });

    it("counts the messages of subjects", async () => {
      const at = c.fresh();
      for (const key of ["a", "b", "b"]) await c.append(c.t.task(`q${at}`, "acme", key, "id"));
      expect(await c.bus.subjects(c.t.streams.tasks, c.t.task(`q${at}`, "*", "*", "*"))).toEqual(
        new Map([
          [c.t.task(`q${at}`, "acme", "a", "id"), 1],
          [c.t.task(`q${at}`, "acme", "b", "id"), 2],
        ]),
      );
      expect(await c.bus.subjects(c.t.streams.tasks, c.t.task(`none${at}`, "*", "*", "*"))).toEqual(
        new Map(),
      );
    });

    it("tells its state", async () => {
      const before = await c.bus.status(c.t.streams.dead);
      expect(before).toMatchObject({ bytesMax: Infinity });
      const sequence = await c.append(c.t.dead("order", "acme", `K${c.fresh()}`, "id"));
      const after = await c.bus.status(c.t.streams.dead);
      expect(after).toMatchObject({
        lastSequence: sequence,
        messages: before.messages + 1,
        createdAtMs: before.createdAtMs,
      });
      expect(after.bytes).toBeGreaterThan(before.bytes);
      expect(before.createdAtMs).toBeLessThanOrEqual(c.world.nowMs() + 5_000);
      await expect(c.bus.status("NOSUCH")).rejects.toThrow(BusError);
    });

    it("finds the newest message of many subjects, and none where there is none", async () => {
      const at = c.fresh();
      const subjects = Array.from({ length: 1_024 }, (_, i) => c.t.record("stock", "acme", `K${at}-${i}`));
      const batch = subjects.slice(0, 512).map((subject) => ({ subject, data: bytes("1") }));
      storedSequence(await c.bus.appendBatch(batch));
      storedSequence(await c.bus.append({ subject: subjects[3] ?? "", data: bytes("2") }));
      const found = await c.lastMany(c.t.streams.actors, subjects);
      expect([...found.keys()].toSorted()).toEqual(subjects.slice(0, 512).toSorted());
      expect(text(found.get(subjects[3] ?? "") as StoredMessage)).toBe("2");
      expect(await c.lastMany(c.t.streams.actors, subjects.slice(600))).toEqual(new Map());
      expect(await c.lastMany(c.t.streams.actors, [])).toEqual(new Map());
      const tooMany = async () =>
        c.bus.lastMany(c.t.streams.actors, [...subjects, c.t.record("stock", "acme", "more")]);
      await expect(tooMany()).rejects.toThrow(DefectError);
    });

    it("purges by filter, below a sequence where one is given", async () => {
      const [mine, other] = [c.fresh(), c.fresh()];
      for (let i = 0; i < 10; i++) await c.append(c.t.inbox("core", i % 2 === 0 ? mine : other));
      const kept = await c.range(c.t.streams.inbox, c.t.inbox("core", mine), 0, 10);
      expect(await c.bus.purge(c.t.streams.inbox, c.t.inbox("core", mine), kept[3]?.sequence)).toBe(3);
      expect(await c.range(c.t.streams.inbox, c.t.inbox("core", mine), 0, 10)).toEqual(kept.slice(3));
      expect(await c.range(c.t.streams.inbox, c.t.inbox("core", other), 0, 10)).toHaveLength(5);
      expect(await c.bus.purge(c.t.streams.inbox, c.t.inbox("core", mine), 0)).toBe(0);
      expect(await c.bus.purge(c.t.streams.inbox, c.t.inbox("core", other))).toBe(5);
      expect(await c.bus.purge(c.t.streams.inbox, c.t.inbox("core", other))).toBe(0);
      // An expectation of nothing holds again where everything is gone.
      expect(
        await c.bus.append({ subject: c.t.inbox("core", other), data: bytes("x"), expectLastSequence: 0 }),
      ).toMatchObject({ kind: "stored" });
    });

    it("refuses as full what is over the byte limit, and goes on when there is room", async () => {
      const subject = c.t.dead("order", "acme", `K${c.fresh()}`, "full");
      const { bytes: present } = await c.bus.status(c.t.streams.dead);
      await c.world.limitBytes(c.t.streams.dead, present + 10_000);
      await c.append(subject, "x".repeat(5_000));
      const over = await c.bus.append({ subject, data: bytes("x".repeat(6_000)) });
      expect(over).toMatchObject({ kind: "refused", full: true });
      expect(await c.bus.purge(c.t.streams.dead, subject)).toBe(1);
      await c.append(subject, "x".repeat(6_000));
      await c.world.limitBytes(c.t.streams.dead, Infinity);
    });

    it("refuses a batch over the byte limit as a whole", async () => {
      const at = c.fresh();
      const { bytes: present } = await c.bus.status(c.t.streams.events);
      await c.world.limitBytes(c.t.streams.events, present + 10_000);
      const batch = Array.from({ length: 20 }, (_, i) => ({
        subject: c.t.event("acme", "order", `K${at}`, `e${i}`),
        data: bytes("x".repeat(1_000)),
      }));
      expect(await c.bus.appendBatch(batch)).toMatchObject({ kind: "refused", full: true });
      expect(await c.bus.subjects(c.t.streams.events, c.t.event("acme", "order", `K${at}`, "*"))).toEqual(
        new Map(),
      );
      await c.world.limitBytes(c.t.streams.events, Infinity);
    });
  });
}
