import { expect, it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import type { NatsServer } from "../../../platform/nats-server/index.ts";
import { faultRun, report, type Scene, SERVERS } from "../harness/fault-run.ts";
import { disksOf, tmpfsDisk, whyNoMounts } from "../harness/mounts.ts";
import type { OrderView } from "../harness/order-view.ts";
import type { OrderPlan } from "../harness/shop.ts";

const FULL_MS_MAX = 90_000;
const FULL_FOR_MS = 5_000;
const POLL_MS = 100;

/** Nine kilobytes of the caller's own data, so that some hundred orders fill a small store. */
function fat(plan: OrderPlan): OrderPlan {
  return { ...plan, ballastBytes: 9_000 };
}

/** Waits until clients are refused because the store is full, and then for some seconds more. */
async function untilFull({ system, load, hit }: Scene): Promise<void> {
  const giveUpMs = systemClock.monotonicMs() + FULL_MS_MAX;
  let quietMs = systemClock.monotonicMs();
  let finished = -1;
  while (systemClock.monotonicMs() < giveUpMs) {
    if (load.finished !== finished) quietMs = systemClock.monotonicMs();
    finished = load.finished;
    const isRefusing = [...system.api.codes.keys()].some((code) => !/failed_precondition/.test(code));
    if (isRefusing && systemClock.monotonicMs() - quietMs > FULL_FOR_MS) break;
    await sleep(systemClock, POLL_MS);
  }
  hit();
  expect(finished, "orders that were finished before the store was full").toBeGreaterThan(50);
  expect(load.finished, "orders that are finished though the store is full").toBeLessThan(1_000);
}

/** What was accepted can be read while the store is full. */
async function readSome({ system, load }: Scene): Promise<void> {
  const known = [...load.diary.entries.values()].filter(({ order }) => order !== undefined).slice(-20);
  for (const { order } of known) {
    const result = await system.api.settle<{ order: OrderView }>(
      "/tradewind.order.v1.OrderService/GetOrder",
      { orderId: order?.id },
      { forMs: 15_000 },
    );
    expect(result, "an accepted order is read while the store is full").toMatchObject({ ok: true });
  }
}

it.each(SERVERS)(
  "refuses orders when the streams are full, and goes on with more room, R%i",
  async (servers) => {
    await faultRun({
      name: "streams full at 64 MiB, then 1 GiB",
      servers,
      workerEnv: { STORE_BYTES_MAX: "64MiB" },
      load: { orders: 1_000, seed: 701, ratePerS: 60, adapt: fat, patienceMs: 240_000 },
      faults: async (scene) => {
        await untilFull(scene);
        await readSome(scene);
        await scene.system.add("core", { STORE_BYTES_MAX: "1GiB" });
      },
    });
  },
);

it.each([
  ["max_file_store is reached", undefined, 702],
  ["the disk itself is full", 2 ** 31, 703],
] as const)("loses nothing when %s, and goes on when there is room", async (how, maxFileStoreBytes, seed) => {
  const why = await whyNoMounts();
  if (why !== undefined) return report(`${how}: not run, ${why}`);
  await using disk = await tmpfsDisk("64m", maxFileStoreBytes === undefined ? {} : { maxFileStoreBytes });
  await faultRun({
    name: `${how} (tmpfs of 64 MiB)`,
    nats: [disk.server],
    load: { orders: 1_000, seed, ratePerS: 60, adapt: fat, patienceMs: 240_000 },
    faults: async (scene) => {
      await untilFull(scene);
      await disk.grow("1g");
      await disk.server.restart();
    },
  });
});

/** Waits until a server says that something is wrong with it. */
async function untilIll(server: NatsServer): Promise<void> {
  const giveUpMs = systemClock.monotonicMs() + FULL_MS_MAX;
  while (systemClock.monotonicMs() < giveUpMs) {
    const answer = await fetch(`${server.monitorUrl}/healthz`).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer?.ok === false) return;
    await sleep(systemClock, POLL_MS);
  }
  expect.fail(`the server with the full disk still says that it is well after ${FULL_MS_MAX} ms`);
}

it("goes on without the one of three servers whose disk is full", async () => {
  const why = await whyNoMounts();
  if (why !== undefined) return report(`one full disk of three: not run, ${why}`);
  await using all = await disksOf(3, (index, place) =>
    tmpfsDisk(index === 0 ? "64m" : "1g", { ...place, maxFileStoreBytes: 2 ** 31 }),
  );
  const [disk] = all.disks;
  await faultRun({
    name: "the disk of one of three servers is full (tmpfs of 64 MiB)",
    nats: all.nats,
    load: { orders: 1_500, seed: 704, ratePerS: 60, adapt: fat, patienceMs: 240_000 },
    faults: async ({ load, hit }) => {
      if (disk === undefined) return;
      await untilIll(disk.server);
      hit();
      expect(load.finished, "orders that were finished before the disk was full").toBeLessThan(1_300);
      await load.reached(load.finished + 150);
      await disk.grow("1g");
      await disk.server.restart();
    },
  });
});
