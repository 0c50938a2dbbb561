import { expect, it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { faultRun, SERVERS } from "../harness/fault-run.ts";
import type { FaultSystem } from "../harness/fault-system.ts";
import { HttpProxy } from "../harness/http-proxy.ts";
import { natsAdmin } from "../harness/nats-admin.ts";
import { replayKeys } from "../harness/verdict.ts";

/** An idle log writes its positions down after 30 s, and once more behind what came meanwhile, such as late timers. */
const PURGED_MS_MAX = 100_000;
const POLL_MS = 500;

it.each(SERVERS)("has one effect for one key when clients lose every third answer, R%i", async (servers) => {
  let proxy: HttpProxy | undefined;
  try {
    await faultRun({
      name: "a third of the gateway's answers is lost",
      servers,
      load: { orders: 1_000, seed: 901, ratePerS: 80 },
      before: async (system) => {
        const [gateway = ""] = system.gatewayUrls;
        proxy = await HttpProxy.before(gateway, { lostAnswers: 0.33 });
        system.gatewayUrls.splice(0, 1, proxy.url);
      },
      faults: async ({ load, hit }) => {
        await load.reached(1);
        hit();
      },
      after: async () => expect(proxy?.lost).toBeGreaterThan(300),
    });
  } finally {
    await proxy?.[Symbol.asyncDispose]();
  }
});

it.each(SERVERS)(
  "has one effect for one key when every request of a client arrives twice at once, R%i",
  async (servers) => {
    let proxy: HttpProxy | undefined;
    try {
      await faultRun({
        name: "every request of a client arrives twice",
        servers,
        load: { orders: 800, seed: 902, ratePerS: 80 },
        before: async (system) => {
          const [gateway = ""] = system.gatewayUrls;
          proxy = await HttpProxy.before(gateway, { isDoubling: true });
          system.gatewayUrls.splice(0, 1, proxy.url);
        },
        faults: async ({ load, hit }) => {
          await load.reached(1);
          hit();
        },
      });
    } finally {
      await proxy?.[Symbol.asyncDispose]();
    }
  },
);

/** Everything that a client can see of orders, stock and totals. */
async function picture({ api }: FaultSystem): Promise<unknown> {
  const orders = await api.must("/tradewind.order.v1.OrderService/ListOrders", { pageSize: 500 });
  const stock = await api.must("/tradewind.inventory.v1.InventoryService/ListStock", { pageSize: 100 });
  const totals = await api.must<{ totalSales: object }>(
    "/tradewind.analytics.v1.AnalyticsService/GetTotalSales",
    { currencyCode: "EUR" },
  );
  return { orders, stock, totals: { ...totals.totalSales, asOf: "" } };
}

it.each(SERVERS)(
  "knows its keys and nothing else after a purge of the inbox and a restart of everything, R%i",
  async (servers) => {
    await faultRun({
      name: "restart of everything, keys replayed after the purge",
      servers,
      load: { orders: 600, seed: 903, ratePerS: 100 },
      faults: async ({ load, hit }) => {
        await load.done;
        hit();
      },
      after: async ({ system, load }) => {
        await using admin = await natsAdmin(system);
        const giveUpMs = systemClock.monotonicMs() + PURGED_MS_MAX;
        const stored = async () =>
          (await admin.jsm.streams.info("INBOX", { subjects_filter: "inbox.>" })).state.subjects ?? {};
        const count = async () => Object.values(await stored()).reduce((sum, each) => sum + each, 0);
        while ((await count()) > 0 && systemClock.monotonicMs() < giveUpMs) await sleep(systemClock, POLL_MS);
        expect(await count(), "messages left in the inbox").toBe(0);
        const before = await picture(system);
        await Promise.all(system.processes.map((role) => role.stop()));
        await Promise.all(system.nats.map((server) => server.restart()));
        await system.heal();
        expect(await picture(system)).toEqual(before);
        await replayKeys(system.api, load.diary);
        expect(load.diary.violations).toEqual([]);
        expect(await picture(system)).toEqual(before);
      },
    });
  },
);
