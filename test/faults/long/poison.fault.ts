import { create, toBinary } from "@bufbuild/protobuf";
import { jetstream } from "@nats-io/jetstream";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { BundleSchema, EntrySchema } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { faultRun, type Scene, SERVERS } from "../harness/fault-run.ts";
import { type FaultSystem, LOGS } from "../harness/fault-system.ts";
import { natsAdmin } from "../harness/nats-admin.ts";
import { settleOrders } from "../harness/verdict.ts";

interface DeadLetter {
  readonly id: string;
  readonly kind?: string;
  readonly key?: string;
  readonly reason: string;
  readonly text?: string;
  readonly payloadJson?: string;
}

const OPS = "/tradewind.ops.v1.OpsService";
const LETTERS_MS_MAX = 40_000;
const POLL_MS = 200;

async function deadLetters({ api }: FaultSystem): Promise<readonly DeadLetter[]> {
  const page = await api.must<{ deadLetters?: DeadLetter[] }>(`${OPS}/ListDeadLetters`, { pageSize: 500 });
  return page.deadLetters ?? [];
}

async function untilLetters(system: FaultSystem, count: number): Promise<readonly DeadLetter[]> {
  const giveUpMs = systemClock.monotonicMs() + LETTERS_MS_MAX;
  for (;;) {
    const letters = await deadLetters(system);
    if (letters.length >= count || systemClock.monotonicMs() > giveUpMs) return letters;
    await sleep(systemClock, POLL_MS);
  }
}

/** Messages that no client of ours would send, into each log of the core group. @returns how many */
async function publishPoison(system: FaultSystem): Promise<number> {
  await using admin = await natsAdmin(system);
  const js = jetstream(admin.nc);
  const entry = { kind: "order", tenant: "demo", key: "ord_poison", method: "Place", body: new Uint8Array() };
  const request = { id: "r", fingerprint: new Uint8Array(32), replyTo: "", correlation: 0n };
  const bundle = (changes: object) =>
    toBinary(
      BundleSchema,
      create(BundleSchema, {
        entries: [create(EntrySchema, { ...entry, source: { case: "request", value: request }, ...changes })],
      }),
    );
  const poisons = [
    new TextEncoder().encode("this is no bundle, it is only text"),
    bundle({ kind: "unheard_of" }),
    bundle({ method: "UnheardOf" }),
    bundle({ body: new Uint8Array([0xff, 0xff, 0xff, 0x01, 0x02]) }),
  ];
  for (let log = 0; log < LOGS; log++) {
    for (const poison of poisons) await js.publish(`inbox.core.${log}`, poison);
  }
  return poisons.length * LOGS;
}

it.each(SERVERS)(
  "puts what cannot be applied aside, once, and its neighbours proceed, R%i",
  async (servers) => {
    let published = 0;
    await faultRun({
      name: "garbage, unknown kinds, unknown rpcs, broken bodies",
      servers,
      load: { orders: 1_000, seed: 501, ratePerS: 100 },
      faults: async ({ system, load, hit }) => {
        await load.reached(300);
        hit();
        published = await publishPoison(system);
        await load.reached(600);
        hit();
        await system.coreWorkers[0]?.kill();
        await system.coreWorkers[0]?.start();
      },
      after: async ({ system }) => {
        const letters = await untilLetters(system, published);
        expect(letters.map(({ reason, kind }) => `${kind} ${reason}`).toSorted()).toHaveLength(published);
        expect(new Set(letters.map(({ id }) => id)).size).toBe(published);
        const [letter] = letters;
        await system.api.must(`${OPS}/DiscardDeadLetter`, { deadLetterId: letter?.id ?? "", reason: "test" });
        expect(await deadLetters(system)).toHaveLength(published - 1);
      },
    });
  },
);

/** A run whose workers have a defect that some orders meet, until the file is gone. */
async function defectRun(
  poison: "throws" | "kills",
  servers: 1 | 3,
  seed: number,
  faults: (scene: Scene, heal: () => void) => Promise<void>,
  expected: { readonly count: number; readonly reason: string },
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "tradewind-poison-"));
  const file = join(dir, "poison");
  writeFileSync(file, "");
  const heal = () => rmSync(file, { force: true });
  let count = 0;
  const every = Math.floor(600 / expected.count);
  try {
    await faultRun({
      name: `a handler that ${poison === "throws" ? "throws" : "kills its process"} at ${expected.count} orders`,
      servers,
      workerEnv: {
        NODE_OPTIONS: `--import ${new URL("../harness/poisoned-worker.ts", import.meta.url).href}`,
        POISON_FILE: file,
      },
      load: {
        orders: 600,
        seed,
        ratePerS: 60,
        adapt: (plan) =>
          ++count % every === every / 2 ? { ...plan, isPoison: poison, isDoubled: false } : plan,
      },
      faults: (scene) => faults(scene, heal),
      after: async ({ system, load }) => {
        const { api } = system;
        const letters = await untilLetters(system, expected.count);
        expect(letters.map(({ kind, reason }) => `${kind} ${reason}`)).toEqual(
          Array.from({ length: expected.count }, () => `order ${expected.reason}`),
        );
        const { deadLetter } = await api.must<{ deadLetter: DeadLetter }>(`${OPS}/GetDeadLetter`, {
          deadLetterId: letters[0]?.id ?? "",
        });
        expect(deadLetter.payloadJson).toContain(poison);
        // The defect is mended: sent again, each becomes the order that it was meant to be.
        heal();
        for (const { id } of letters) await api.must(`${OPS}/RedriveDeadLetter`, { deadLetterId: id });
        for (const { key } of letters) {
          const { order } = await api.must<{ order: { metadata: Record<string, string> } }>(
            "/tradewind.order.v1.OrderService/GetOrder",
            { orderId: key ?? "" },
            { forMs: 20_000, isFoundLater: true },
          );
          expect(order.metadata["poison"]).toBe(poison);
          load.diary.heard(order.metadata["key"] ?? "", order as never, 0, "GetOrder");
        }
        await settleOrders(api, load.diary);
        expect(load.diary.violations).toEqual([]);
        expect(await deadLetters(system)).toEqual([]);
      },
    });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

it.each(SERVERS)(
  "puts a message aside whose handler throws, and takes it when the defect is mended, R%i",
  async (servers) => {
    await defectRun(
      "throws",
      servers,
      502,
      async ({ load, hit }) => {
        await load.reached(50);
        hit();
        await load.reached(500);
      },
      { count: 6, reason: "HANDLER_FAILED" },
    );
  },
);

it.each(SERVERS)(
  "finds the message that kills every worker, and puts that one aside, R%i",
  async (servers) => {
    await defectRun(
      "kills",
      servers,
      503,
      async ({ system, load, hit }) => {
        let isOver = false;
        const keepAlive = async () => {
          while (!isOver) {
            for (const worker of system.coreWorkers.filter(({ isRunning }) => !isRunning)) {
              hit();
              await worker.start();
            }
            await sleep(systemClock, POLL_MS);
          }
        };
        const supervisor = keepAlive();
        try {
          await load.done;
          await untilLetters(system, 2);
        } finally {
          isOver = true;
          await supervisor;
        }
      },
      { count: 2, reason: "CRASH_LOOP" },
    );
  },
);
