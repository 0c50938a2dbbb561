import { expect, it } from "vitest";
import type { Clock } from "../../platform/clock.ts";
import { silentLogger } from "../../platform/log.ts";
import { seededRandom } from "../../platform/random.ts";
import { type ActorClient, createTopology } from "../runtime/index.ts";
import { startArchivist } from "./archivist-loop.ts";

/** Time that jumps to the next timer. */
class JumpClock implements Clock {
  #nowMs = 1_700_000_000_000;
  #timers: { run: () => void; atMs: number }[] = [];
  nowMs = () => this.#nowMs;
  monotonicMs = () => this.#nowMs;
  setTimer(run: () => void, delayMs: number) {
    const timer = { run, atMs: this.#nowMs + delayMs };
    this.#timers.push(timer);
    return { cancel: () => void (this.#timers = this.#timers.filter((other) => other !== timer)) };
  }
  async jump(): Promise<void> {
    const [next] = this.#timers.toSorted((a, b) => a.atMs - b.atMs);
    if (next === undefined) return;
    this.#timers = this.#timers.filter((other) => other !== next);
    this.#nowMs = next.atMs;
    next.run();
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  }
}

it("looks at all tenants an hour after the last time, only where it is its turn, and outlives a failure", async () => {
  const clock = new JumpClock();
  const seen: string[] = [];
  let isMine = true;
  let isBroken = false;
  const client: Partial<ActorClient> = {
    refusal: () => undefined,
    tenantsOf: () => (isBroken ? Promise.reject(new Error("no answer")) : Promise.resolve(["acme", "demo"])),
    oldestPages: (tenant, list, log) => {
      seen.push(`${tenant}/${list}/${log}`);
      return Promise.resolve([]);
    },
  };
  const archivist = startArchivist({
    client: client as ActorClient,
    clock,
    random: seededRandom(1),
    topology: createTopology({ logs: 1 }),
    log: silentLogger,
    ageMs: 1,
    isMine: () => isMine,
    onArchived: () => undefined,
  });
  const startMs = clock.nowMs();
  await clock.jump();
  const once = ["acme/orders/0", "acme/payments/0", "demo/orders/0", "demo/payments/0"];
  expect(seen).toEqual(once);
  isMine = false;
  await clock.jump();
  expect(clock.nowMs() - startMs).toBe(3_660_000);
  expect(seen).toEqual(once);
  isMine = true;
  isBroken = true;
  await clock.jump();
  isBroken = false;
  await clock.jump();
  expect(seen).toEqual([...once, ...once]);
  await archivist.stop();
  await clock.jump();
  expect(seen).toHaveLength(2 * once.length);
});
