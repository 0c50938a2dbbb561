import { expect, it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { faultRun, SERVERS } from "../harness/fault-run.ts";
import { HttpProxy } from "../harness/http-proxy.ts";
import type { OrderPlan } from "../harness/shop.ts";

/** Everything that the simulated provider knows how to do wrong and that comes to an end by itself. */
const WHIMS = (
  "tok_late_3000 tok_late_800 tok_slow_1500 tok_garbage_1 tok_garbage_2 tok_flaky_3 tok_timeout tok_timeout_1 " +
  "tok_blackout tok_unreachable tok_unreachable_3 tok_decline tok_capture_timeout_1 tok_capture_unreachable_2 " +
  "tok_capture_slow_1200 tok_capture_decline tok_void_unreachable_2 tok_refund_unreachable_2 tok_ok"
).split(" ");

/** Gives each plan the next whim, and lets many be cancelled in the middle. */
function whims(seed: number): (plan: OrderPlan) => OrderPlan {
  let count = seed;
  return (plan) => {
    const methodToken = WHIMS[count++ % WHIMS.length] ?? "tok_ok";
    return count % 4 === 0
      ? { ...plan, methodToken, cancelAfterMs: (count * 37) % 4_000 }
      : { ...plan, methodToken };
  };
}

it.each(SERVERS)(
  "keeps its books with a provider that answers late, garbage, never, or refuses late, R%i",
  async (servers) => {
    await faultRun({
      name: "a provider with every whim",
      servers,
      load: { orders: 600, seed: 401, ratePerS: 60, adapt: whims(0) },
      faults: async ({ load, hit }) => {
        await load.reached(1);
        hit();
      },
    });
  },
);

it.each(SERVERS)("charges once when every call arrives twice, R%i", async (servers) => {
  let proxy: HttpProxy | undefined;
  try {
    await faultRun({
      name: "every call arrives twice at the provider",
      servers,
      load: { orders: 1_000, seed: 402, ratePerS: 100 },
      pspUrlFor: async (url) => {
        proxy = await HttpProxy.before(url, { isDoubling: true });
        return proxy.url;
      },
      faults: async ({ load, hit }) => {
        await load.reached(1);
        hit();
      },
      after: async () => expect(proxy?.doubled).toBeGreaterThan(1_000),
    });
  } finally {
    await proxy?.[Symbol.asyncDispose]();
  }
});

it.each(SERVERS)("charges once when a third of the provider's answers is lost, R%i", async (servers) => {
  let proxy: HttpProxy | undefined;
  try {
    await faultRun({
      name: "a third of the provider's answers is lost",
      servers,
      load: { orders: 800, seed: 403, ratePerS: 100 },
      pspUrlFor: async (url) => {
        proxy = await HttpProxy.before(url, { lostAnswers: 0.33 });
        return proxy.url;
      },
      faults: async ({ load, hit }) => {
        await load.reached(1);
        hit();
      },
      after: async () => expect(proxy?.lost).toBeGreaterThan(200),
    });
  } finally {
    await proxy?.[Symbol.asyncDispose]();
  }
});

it.each(SERVERS)(
  "charges once when a worker dies between the provider's deed and its own acknowledgement, R%i",
  async (servers) => {
    await faultRun({
      name: "task workers killed between call and ack",
      servers,
      // Takes effect at once and answers later: whoever is killed meanwhile has called and not acknowledged.
      load: {
        orders: 800,
        seed: 404,
        ratePerS: 80,
        adapt: (plan) => ({
          ...plan,
          methodToken: plan.methodToken === "tok_ok" ? "tok_slow_900" : plan.methodToken,
        }),
      },
      faults: async ({ system, load, hit }) => {
        for (const [index, count] of [100, 250, 400, 550].entries()) {
          await load.reached(count);
          hit();
          const victim = system.coreWorkers[index % 2];
          await victim?.kill();
          await victim?.start();
        }
      },
    });
  },
);

it.each(SERVERS)("waits for a provider that is killed and comes back, R%i", async (servers) => {
  await faultRun({
    name: "kill -9 of the provider, three times",
    servers,
    load: { orders: 1_000, seed: 405, ratePerS: 100 },
    faults: async ({ system, load, hit }) => {
      for (const count of [200, 450, 700]) {
        await load.reached(count);
        hit();
        await system.psp.kill();
        await sleep(systemClock, 1_500);
        await system.psp.start();
      }
    },
  });
});
