import { describe, it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { faultRun, type FaultRunOptions, SERVERS } from "../harness/fault-run.ts";
import { TcpProxy, type Weather } from "../harness/tcp-proxy.ts";

type Run = Omit<FaultRunOptions, "load" | "faults" | "natsUrlFor" | "pspUrlFor">;

const LOAD = { orders: 1_200, ratePerS: 100 };

/** A run with a proxy between NATS and the roles whose name matches. */
async function natsRun(
  options: Run & { readonly seed: number; readonly roles: RegExp },
  faults: (
    proxies: ReadonlyMap<string, TcpProxy>,
    scene: Parameters<FaultRunOptions["faults"]>[0],
  ) => Promise<void>,
): Promise<void> {
  const proxies = new Map<string, TcpProxy>();
  try {
    await faultRun({
      ...options,
      load: { ...LOAD, seed: options.seed },
      natsUrlFor: async (url, role) => {
        if (!options.roles.test(role)) return url;
        const through = async (each: string) => {
          const proxy = await TcpProxy.before(each);
          proxies.set(`${role} ${each}`, proxy);
          return proxy.through(each);
        };
        return (await Promise.all(url.split(",").map(through))).join(",");
      },
      faults: (scene) => faults(proxies, scene),
    });
  } finally {
    for (const proxy of proxies.values()) await proxy[Symbol.asyncDispose]();
  }
}

/** A run with a proxy between the workers and the payment provider. */
async function providerRun(
  options: Run & { readonly seed: number },
  faults: (proxy: TcpProxy, scene: Parameters<FaultRunOptions["faults"]>[0]) => Promise<void>,
): Promise<void> {
  let proxy: TcpProxy | undefined;
  try {
    await faultRun({
      ...options,
      load: { ...LOAD, seed: options.seed },
      pspUrlFor: async (url) => {
        proxy = await TcpProxy.before(url);
        return proxy.through(url);
      },
      faults: async (scene) => {
        if (proxy !== undefined) await faults(proxy, scene);
      },
    });
  } finally {
    await proxy?.[Symbol.asyncDispose]();
  }
}

describe("the way to NATS", () => {
  // Three servers tell their clients of one another: whoever is cut off goes on at one without a proxy.
  it.each<[Weather, string, RegExp, number, 1 | 3]>([
    ["blackhole", "a worker", /^core-1$/, 301, 1],
    ["no answers", "a worker", /^core-1$/, 302, 1],
    ["blackhole", "the gateway", /^gateway-1$/, 303, 1],
    ["blackhole", "the analytics worker", /^analytics-1$/, 304, 1],
    ["blackhole", "a worker", /^core-1$/, 301, 3],
    ["no answers", "a worker", /^core-1$/, 302, 3],
    ["blackhole", "the gateway", /^gateway-1$/, 303, 3],
  ])("is a %s for some seconds, for %s", async (weather, who, roles, seed, servers) => {
    const name = `${weather} between ${who} and NATS for 8 s`;
    await natsRun({ name, roles, seed, servers }, async (proxies, { load, hit }) => {
      await load.reached(300);
      hit();
      for (const proxy of proxies.values()) proxy.weather = weather;
      await sleep(systemClock, 8_000);
      for (const proxy of proxies.values()) {
        proxy.weather = "fair";
        proxy.reset();
      }
    });
  });

  it.each(SERVERS)("is slow for everybody, R%i", async (servers) => {
    const options = { name: "30 ms each way between all and NATS", roles: /./, seed: 305, servers };
    await natsRun(options, async (proxies, { load, hit }) => {
      await load.reached(200);
      hit();
      for (const proxy of proxies.values()) proxy.latencyMs = 30;
      await load.reached(800);
      for (const proxy of proxies.values()) proxy.latencyMs = 0;
    });
  });

  it.each(SERVERS)("is reset again and again, R%i", async (servers) => {
    const options = { name: "all connections to NATS reset, ten times", roles: /./, seed: 306, servers };
    await natsRun(options, async (proxies, { load, hit }) => {
      await load.reached(200);
      for (let count = 0; count < 10; count++) {
        hit();
        for (const proxy of proxies.values()) proxy.reset();
        await sleep(systemClock, 700);
      }
    });
  });
});

describe.each(SERVERS)("the way to the payment provider, R%i", (servers) => {
  it.each<[string, (proxy: TcpProxy) => void, number]>([
    ["is a blackhole", (proxy) => void (proxy.weather = "blackhole"), 311],
    ["loses every answer", (proxy) => void (proxy.weather = "no answers"), 312],
    ["is refused", (proxy) => void (proxy.isRefusing = true), 313],
    ["is slow", (proxy) => void (proxy.latencyMs = 400), 314],
  ])("%s for some seconds", async (how, begin, seed) => {
    await providerRun(
      { name: `the way to the provider ${how} for 5 s`, seed, servers },
      async (proxy, { load, hit }) => {
        await load.reached(300);
        hit();
        begin(proxy);
        proxy.reset();
        await sleep(systemClock, 5_000);
        Object.assign(proxy, { weather: "fair", isRefusing: false, latencyMs: 0 });
        proxy.reset();
      },
    );
  });
});
