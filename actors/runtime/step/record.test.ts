import { describe, expect, it } from "vitest";
import {
  SampleStateSchema,
  type SampleState,
} from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import { TimerSchema } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { create } from "../codec/create.ts";
import { MemoryRecord } from "./record.ts";

function change(record: MemoryRecord, balance: bigint, arms: readonly string[]): void {
  const { meta, state } = record.open(SampleStateSchema);
  (state as SampleState).balance = balance;
  meta.timers = arms.map((arm) => create(TimerSchema, { name: "t", arm }));
  meta.ttlSeconds = 60;
  record.touched();
}

const balanceOf = (record: MemoryRecord) => (record.open(SampleStateSchema).state as SampleState).balance;
const armsOf = (record: MemoryRecord) => record.committedMeta()?.timers.map(({ arm }) => arm);

function closedRecord(): MemoryRecord {
  const record = new MemoryRecord("sample", "acme", "a");
  change(record, 1n, ["arm-1"]);
  record.commit(1);
  change(record, 2n, []);
  record.commit(2);
  return record;
}

describe("a record that waits for nothing any more", () => {
  it("says so, and how long it stays", () => {
    expect(closedRecord().committedMeta()).toMatchObject({
      timers: [],
      tasks: [],
      waiters: [],
      ttlSeconds: 60,
    });
  });

  it("is as it was committed when something happens to it all the same", () => {
    const record = closedRecord();
    expect(balanceOf(record)).toBe(2n);
    change(record, 3n, ["arm-2"]);
    expect(armsOf(record)).toEqual([]);
    record.commit(3);
    expect(armsOf(record)).toEqual(["arm-2"]);
    expect(balanceOf(record)).toBe(3n);
  });

  it("goes back to it when the commit that changed it is refused", () => {
    const record = closedRecord();
    change(record, 3n, ["arm-2"]);
    record.rollback();
    expect(armsOf(record)).toEqual([]);
    expect(balanceOf(record)).toBe(2n);
  });

  it("says what another commit made of it where that is read from the journal", () => {
    const other = new MemoryRecord("sample", "acme", "a");
    change(other, 9n, ["arm-9"]);
    other.commit(1);
    const record = closedRecord();
    record.committed = other.committed;
    record.rollback();
    expect(armsOf(record)).toEqual(["arm-9"]);
  });
});
