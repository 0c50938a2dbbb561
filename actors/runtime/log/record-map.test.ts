import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryRecord } from "../step/record.ts";
import { RecordMap } from "./record-map.ts";

const ids = fc.record({
  kind: fc.constantFrom("order", "payment", "stock"),
  tenant: fc.constantFrom("acme", "other"),
  key: fc.constantFrom("a", "b", "c", "d"),
});

function mapWith(keys: readonly string[], tenant = "acme"): { map: RecordMap; records: MemoryRecord[] } {
  const map = new RecordMap();
  const records = keys.map((key) => new MemoryRecord("order", tenant, key));
  for (const record of records) map.add(record);
  return { map, records };
}

const keptOf = (records: readonly MemoryRecord[]) =>
  records.filter(({ isForgotten }) => !isForgotten).map(({ key }) => key);

describe("a map of records", () => {
  it("finds the newest record of each name, and counts each name once", () => {
    fc.assert(
      fc.property(fc.array(ids, { maxLength: 40 }), (list) => {
        const map = new RecordMap();
        const model = new Map<string, MemoryRecord>();
        for (const { kind, tenant, key } of list) {
          const record = new MemoryRecord(kind, tenant, key);
          const before = model.get(record.name);
          map.add(record);
          model.set(record.name, record);
          if (before !== undefined) expect(before.isForgotten).toBe(true);
        }
        expect(map.size).toBe(model.size);
        for (const record of model.values()) expect(map.get(record)).toBe(record);
      }),
    );
  });

  it("finds what a tenant has again after all of it had gone", () => {
    const { map } = mapWith(["a", "b"]);
    expect(map.get({ kind: "order", tenant: "acme", key: "a" })).toBeDefined();
    map.evict(0, () => false);
    expect(map.get({ kind: "order", tenant: "acme", key: "a" })).toBeUndefined();
    const again = new MemoryRecord("order", "acme", "a");
    map.add(again);
    expect(map.get(again)).toBe(again);
  });

  it("forgets no more than it must, and nothing that is needed", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(ids, { selector: (id) => Object.values(id).join() }),
        fc.nat(24),
        (list, sizeMax) => {
          const map = new RecordMap();
          const records = list.map(({ kind, tenant, key }) => new MemoryRecord(kind, tenant, key));
          for (const record of records) {
            map.add(record);
            record.isUsed = record.key < "c";
          }
          const isNeeded = ({ key }: MemoryRecord) => key === "a";
          map.evict(sizeMax, isNeeded);
          const kept = records.filter(({ isForgotten }) => !isForgotten);
          expect(map.size).toBe(kept.length);
          for (const record of records) expect(map.get(record) === record).toBe(!record.isForgotten);
          expect(records.filter(isNeeded).every(({ isForgotten }) => !isForgotten)).toBe(true);
          // Records of one key go together.
          if (kept.length < records.length && kept.length < sizeMax)
            expect(sizeMax - kept.length).toBeLessThan(3);
          if (kept.length > sizeMax) expect(kept.every(isNeeded)).toBe(true);
        },
      ),
    );
  });

  it("lets the oldest go first, those in use after the others", () => {
    const { map, records } = mapWith(["a", "b", "c", "d"]);
    for (const record of records) record.isUsed = record.key === "a";
    map.evict(2, () => false);
    expect(keptOf(records)).toEqual(["a", "d"]);
    map.evict(1, () => false);
    expect(keptOf(records)).toEqual(["a"]);
  });

  it("spares the used ones of one tenant as long as another has unused ones", () => {
    const { map, records } = mapWith(["a", "b"]);
    const others = ["a", "b"].map((key) => new MemoryRecord("order", "other", key));
    for (const record of others) map.add(record);
    for (const record of records) record.isUsed = true;
    map.evict(2, () => false);
    expect([keptOf(records), keptOf(others)]).toEqual([["a", "b"], []]);
  });
});
