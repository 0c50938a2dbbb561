import { expect, it } from "vitest";
import { seededRandom } from "../../../platform/random.ts";
import { MemoryNats } from "../bus/bus-memory.ts";
import type { AppendOutcome } from "../bus/bus.ts";
import { altered, HandClock } from "../client/client-testing.ts";
import { createTopology } from "../topology.ts";
import { Journal } from "./journal.ts";

const FULL: AppendOutcome = { kind: "refused", reason: "maximum bytes exceeded", full: true };
const UNKNOWN: AppendOutcome = { kind: "unknown", reason: "timeout" };

/** Appends one commit to a log whose stream answers so, then as it is. */
async function append(answers: AppendOutcome[], isGivenBack: boolean) {
  const clock = new HandClock();
  const nats = new MemoryNats({ clock, random: seededRandom(1) });
  const topology = createTopology({ logs: 1 });
  nats.ensure(topology);
  const bus = nats.connect("owner");
  const answering = altered(bus, {
    append: (message) => {
      const answer = answers.shift();
      return answer === undefined ? bus.append(message) : Promise.resolve(answer);
    },
  });
  const names = { stream: topology.streams.log, subject: topology.log("core", 0) };
  const lastOf = bus.last(names.stream, names.subject);
  await clock.pass(10);
  const { signal } = new AbortController();
  const journal = new Journal(answering, clock, names, (await lastOf)?.sequence ?? 0, signal);
  const outcome = journal.append("c", new Uint8Array([1]), {}, isGivenBack);
  for (let i = 0; i < 20; i++) await clock.pass(200);
  return outcome;
}

it("waits for space, or gives a commit back that is certainly not stored", async () => {
  await expect(append([FULL], false)).resolves.toMatchObject({ kind: "committed" });
  await expect(append([FULL], true)).resolves.toEqual({ kind: "full" });
});

it("never gives a commit back that may be stored", async () => {
  await expect(append([UNKNOWN, FULL], true)).resolves.toMatchObject({ kind: "committed" });
});
