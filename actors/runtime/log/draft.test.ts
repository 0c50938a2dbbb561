import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  CommitKind,
  CommitSchema,
  RecordSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import {
  SampleStateSchema,
  type SampleState,
} from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import { encode } from "../codec/encode.ts";
import { create } from "../codec/create.ts";
import { MemoryRecord } from "../step/record.ts";
import { Draft } from "./draft.ts";

const HEAD = {
  kind: CommitKind.COMMIT,
  id: "commit-1",
  epoch: 3n,
  owner: "worker-1",
  positions: new Map([["inbox" as const, { sequence: 7, taken: 2, whole: false }]]),
  streams: new Map([["inbox" as const, { name: "INBOX", createdAtMs: 1_700_000_000_000 }]]),
  takeovers: 1,
  atMs: 1_700_000_000_123,
  contracts: "abc",
};

function changed(key: string, change: (state: SampleState, record: MemoryRecord) => void): MemoryRecord {
  const record = new MemoryRecord("sample", "acme", key);
  const { meta, state } = record.open(SampleStateSchema);
  meta.revision = 1n;
  change(state as SampleState, record);
  record.touched();
  return record;
}

describe("a commit that is encoded with its records", () => {
  it("has the bytes of a commit whose parts were encoded one after another", () => {
    const records = [
      changed("empty", () => undefined),
      changed("small", (state) => (state.balance = 5n)),
      changed("long", (_state, record) => {
        record.open(SampleStateSchema).meta.redriven = Array.from(
          { length: 9_000 },
          (_, at) => `letter-${at}`,
        );
      }),
    ];
    const fresh = changed("fresh", (state) => (state.balance = 6n));
    const freshBytes = fresh.bytes();
    const gone = changed("gone", () => undefined);
    gone.clear();
    const draft = new Draft();
    for (const record of [...records, fresh, gone]) draft.change(record);
    draft.deadLetter({ id: "d", reason: "r", error: "", raw: new Uint8Array(0), atMs: 1n, from: "core.0" });

    const data = draft.encode(HEAD);

    const commit = fromBinary(CommitSchema, data);
    expect(Buffer.from(data).equals(toBinary(CommitSchema, commit))).toBe(true);
    expect(commit).toMatchObject({
      id: "commit-1",
      contracts: "abc",
      atMs: 1_700_000_000_123n,
      takeovers: 1,
    });
    expect(commit.deadLetters).toHaveLength(1);
    expect(commit.records.map(({ key }) => key)).toEqual(["empty", "small", "long", "fresh", "gone"]);
    for (const [at, record] of [...records, fresh, gone].entries())
      expect(Buffer.from(record.bytes()).equals(commit.records[at]?.record ?? Buffer.alloc(1))).toBe(true);
    const small = fromBinary(RecordSchema, commit.records[1]?.record ?? new Uint8Array(0));
    const state = encode(SampleStateSchema, create(SampleStateSchema, { balance: 5n }));
    expect(Buffer.from(small.state).equals(state)).toBe(true);
    expect(fresh.bytes()).toBe(freshBytes);
  });
});
