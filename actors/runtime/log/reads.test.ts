import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { silentLogger } from "../../../platform/log.ts";
import { seededRandom } from "../../../platform/random.ts";
import {
  RecordSchema,
  RepliesSchema,
  RequestSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Bus } from "../bus/bus.ts";
import { MemoryNats } from "../bus/bus-memory.ts";
import { HandClock } from "../client/client-testing.ts";
import { LIMITS } from "../limits.ts";
import { LogReader } from "../client/log-reader.ts";
import { Reads } from "./reads.ts";
import type { RecordId, RecordStore } from "./record-store.ts";
import { publishReplies } from "./replies.ts";
import { SeenLogs } from "../client/seen-logs.ts";
import { createTopology } from "../topology.ts";

const LARGE_BYTES = 200_000;

it("answers a read of many large records in messages that NATS takes", async () => {
  const clock = new HandClock();
  const topology = createTopology({ logs: 4 });
  const nats = new MemoryNats({ clock, random: seededRandom(1) });
  nats.ensure(topology);
  const owner = nats.connect("owner");
  const sizes: number[] = [];
  const publish: Bus["publish"] = (subject, data, headers, replyTo) => {
    sizes.push(data.length);
    owner.publish(subject, data, headers, replyTo);
  };
  const subscribe: Bus["subscribe"] = (...options) => owner.subscribe(...options);
  const bus = { publish, subscribe } as unknown as Bus;
  const recordOf = (key: string) => {
    const state = new Uint8Array(LARGE_BYTES).fill(Number(key.slice(1)));
    return { committed: toBinary(RecordSchema, create(RecordSchema, { state, revision: 1n })) };
  };
  const store = { get: ({ key }: RecordId) => recordOf(key), want: () => {} };
  const reads = new Reads({
    bus,
    subject: topology.read("core", 0),
    store: store as unknown as RecordStore,
    epoch: 1n,
    lastSequence: () => 7,
    isFresh: () => true,
  });
  const client = nats.connect("client");
  const reader = new LogReader({ bus: client, clock, log: silentLogger, topology, seen: new SeenLogs() });
  const asked = Array.from({ length: 30 }, (_, index) =>
    reader.read("core", 0, "order", "demo", `k${index}`),
  );
  let answers: readonly number[] | undefined;
  void Promise.all(asked).then((found) => (answers = found.map(({ record }) => record?.state[0] ?? -1)));
  for (let turn = 0; turn < 100 && answers === undefined; turn++) await clock.pass(10);
  expect(answers).toEqual(Array.from({ length: 30 }, (_, index) => index));
  expect(Math.max(...sizes)).toBeLessThanOrEqual(LIMITS.messageBytesMax);
  reads.close();
});

it("sends large replies of one commit in messages that NATS takes", () => {
  const sent: Uint8Array[] = [];
  const bus = { publish: (_subject: string, data: Uint8Array) => void sent.push(data) } as unknown as Bus;
  const replies = Array.from({ length: 20 }, (_, index) => ({
    request: create(RequestSchema, { id: "r", replyTo: "reply.one", correlation: BigInt(index) }),
    result: { case: "reply" as const, value: new Uint8Array(LARGE_BYTES) },
    replayed: false,
  }));
  publishReplies(bus, { group: "core", log: 0, epoch: 1n, logSequence: 1n, inboxSequence: 1n }, replies);
  expect(Math.max(...sent.map(({ length }) => length))).toBeLessThanOrEqual(LIMITS.messageBytesMax);
  const heard = sent.flatMap((data) => fromBinary(RepliesSchema, data).replies);
  expect(heard.map(({ correlation }) => Number(correlation))).toEqual(replies.map((_, index) => index));
});
