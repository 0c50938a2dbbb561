import { create, fromBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { silentLogger } from "../../platform/log.ts";
import { seededRandom } from "../../platform/random.ts";
import { BundleSchema, EntrySchema } from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { MemoryNats } from "./bus/bus-memory.ts";
import type { MemoryOperation } from "./bus/memory-faults.ts";
import { HandClock, settle } from "./client/client-testing.ts";
import { InboxWriter } from "./inbox-writer.ts";
import { LIMITS } from "./limits.ts";
import { createTopology } from "./topology.ts";

function writerWorld() {
  const clock = new HandClock();
  const random = seededRandom(3);
  const topology = createTopology({ logs: 4 });
  const nats = new MemoryNats({ clock, random });
  nats.ensure(topology);
  const writer = new InboxWriter({ bus: nats.connect("client"), clock, random, topology, log: silentLogger });
  const bundles = (log: number) =>
    nats
      .inspect(topology.streams.inbox)
      .filter(({ subject }) => subject === topology.inbox("core", log))
      .map(({ data }) => fromBinary(BundleSchema, data).entries);
  const faults = (operation: (operation: MemoryOperation) => object | undefined) => {
    nats.faults = { ...nats.faults, operation };
  };
  return { clock, nats, topology, writer, bundles, faults };
}

const entry = (key: string, bytes = 10) =>
  create(EntrySchema, {
    kind: "product",
    tenant: "acme",
    key,
    body: new Uint8Array(bytes),
    source: { case: "request", value: { id: key } },
  });

const keysOf = (entries: readonly { key: string }[]) => entries.map(({ key }) => key);

it("sends what waits while a publish is under way as one bundle, in order, each log for itself", async () => {
  const { writer, bundles, faults, clock } = writerWorld();
  faults(({ target }) => (target.endsWith(".0") ? { replyDelayMs: 10 } : undefined));
  const first = writer.append("core", 0, entry("a"));
  await settle();
  const rest = ["b", "c", "d"].map((key) => writer.append("core", 0, entry(key)));
  await writer.append("core", 1, entry("x"));
  await clock.pass(30);
  await Promise.all([first, ...rest]);
  expect(bundles(0).map(keysOf)).toEqual([["a"], ["b", "c", "d"]]);
  expect(bundles(1).map(keysOf)).toEqual([["x"]]);
});

it("closes a bundle before its limits", async () => {
  const { writer, bundles } = writerWorld();
  const many = Array.from({ length: LIMITS.bundleEntriesMax + 3 }, (_, index) =>
    writer.append("core", 0, entry(`${index}`)),
  );
  const large = [1, 2, 3].map((index) =>
    writer.append("core", 1, entry(`${index}`, LIMITS.bodyBytesMax - 500)),
  );
  await Promise.all([...many, ...large]);
  expect(bundles(0).map(({ length }) => length)).toEqual([LIMITS.bundleEntriesMax, 3]);
  expect(bundles(1).map(({ length }) => length)).toEqual([2, 1]);
});

it("refuses an entry that fits no bundle", async () => {
  const { writer } = writerWorld();
  await expect(writer.append("core", 0, entry("a", LIMITS.bundleBytesMax))).rejects.toMatchObject({
    kind: "defect",
  });
});

it("says overloaded when the store is full, and remembers it for a while", async () => {
  const { clock, topology } = writerWorld();
  const bus = {
    append: async () => ({ kind: "refused" as const, full: true, reason: "maximum bytes exceeded" }),
    isConnected: () => true,
  };
  const writer = new InboxWriter({ bus, clock, random: seededRandom(3), topology, log: silentLogger });
  const error = { kind: "overloaded", retryAfterMs: 5_000, message: "the store is full" };
  await expect(writer.append("core", 0, entry("a"))).rejects.toMatchObject(error);
  expect(writer.isFull()).toBe(true);
  await clock.pass(5_001);
  expect(writer.isFull()).toBe(false);
});

it("sends the same bytes again until the outcome is known, and stores them once", async () => {
  const { writer, bundles, faults, clock } = writerWorld();
  let lost = 0;
  faults(({ kind }) => (kind === "append" && ++lost <= 3 ? { isReplyLost: true } : undefined));
  const done = writer.append("core", 0, entry("a"));
  await clock.pass(10_000);
  await done;
  expect(lost).toBe(4);
  expect(bundles(0).map(keysOf)).toEqual([["a"]]);
});

it("goes on with the next bundle when nobody waits for this one any more", async () => {
  const { writer, bundles, faults, clock } = writerWorld();
  faults(({ kind }) => (kind === "append" ? { isRequestLost: true } : undefined));
  const first = writer
    .append("core", 0, entry("a"), clock.monotonicMs() + 3_000)
    .catch((error: unknown) => error);
  await settle();
  const second = writer.append("core", 0, entry("b"));
  const late = writer
    .append("core", 0, entry("c"), clock.monotonicMs() + 100)
    .catch((error: unknown) => error);
  await clock.pass(4_000);
  faults(() => undefined);
  await clock.pass(4_000);
  expect(await first).toMatchObject({ kind: "timeout" });
  expect(await late).toMatchObject({ kind: "timeout" });
  await second;
  expect(bundles(0).map(keysOf)).toEqual([["b"]]);
});

it("survives a restart of the server", async () => {
  const { writer, bundles, nats, clock } = writerWorld();
  nats.stop();
  const done = writer.append("core", 0, entry("a"));
  await clock.pass(3_000);
  nats.start();
  await clock.pass(1_000);
  await done;
  expect(bundles(0).map(keysOf)).toEqual([["a"]]);
});

it("rejects what waits when it closes", async () => {
  const { writer } = writerWorld();
  const waiting = writer.append("core", 0, entry("a"));
  writer.close();
  await expect(waiting).rejects.toMatchObject({ kind: "unavailable" });
  await expect(writer.append("core", 0, entry("b"))).rejects.toMatchObject({ kind: "unavailable" });
});
