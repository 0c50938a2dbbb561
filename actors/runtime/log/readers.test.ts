import { expect, it } from "vitest";
import { seededRandom } from "../../../platform/random.ts";
import {
  CommitSchema,
  EntrySchema,
  type Entry,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { MemoryNats } from "../bus/bus-memory.ts";
import { HandClock } from "../client/client-testing.ts";
import { create } from "../codec/create.ts";
import { encode } from "../codec/encode.ts";
import { createTopology } from "../topology.ts";
import { TO_HEADER } from "./draft.ts";
import { InputQueue } from "./inputs.ts";
import type { LogOwner } from "./log-owner.ts";
import { Readers } from "./readers.ts";

it("gives the one log of a group what another group sends it, once and in order", async () => {
  const clock = new HandClock();
  const topology = createTopology({ logs: 1 });
  const nats = new MemoryNats({ clock, random: seededRandom(1) });
  nats.ensure(topology);
  const bus = nats.connect("worker");
  const queue = new InputQueue(new Map());
  const owner = { log: 0, queue, push: queue.push.bind(queue), caughtUp: () => {}, othersMoved: () => {} };
  new Readers({ bus, clock, topology, group: "core" }).add(owner as unknown as LogOwner);
  const commit = (group: string, keys: readonly string[]) => {
    const messages = keys.map((key) => ({ group: "core", log: 0, entry: create(EntrySchema, { key }) }));
    const headers = { ...(keys.length > 0 && { [TO_HEADER]: "core.0" }) };
    const data = encode(CommitSchema, create(CommitSchema, { messages }));
    return bus.append({ subject: topology.log(group, 0), data, headers });
  };
  await commit("core", []);
  await commit("analytics", ["a", "b"]);
  await commit("core", []);
  await commit("analytics", ["c"]);
  const last = await commit("core", []);
  await clock.pass(10);
  const taken: Entry[] = [];
  for (let input = queue.take(); input !== undefined; input = queue.take())
    if (input.body.case === "entry") taken.push(input.body.entry);
  expect(taken.map(({ key }) => key)).toEqual(["a", "b", "c"]);
  expect(queue.positions().get("log")).toMatchObject({ sequence: last.kind === "stored" && last.sequence });
});
