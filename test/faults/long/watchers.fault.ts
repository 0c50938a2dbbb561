import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { expect, it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { faultRun, report, SERVERS } from "../harness/fault-run.ts";
import { WatchCrowd } from "../harness/watch-crowd.ts";

const MIB = 2 ** 20;
/** A gateway that takes 2,000 orders grows by about 100 MiB; a slow reader holds its snapshot. */
const GROWTH_BYTES_MAX = 400 * MIB;
const SLOW_READERS = 50;
const CROWD = 1_000;
const BACK_MS_MAX = 60_000;
const POLL_MS = 100;

/** Resident memory of a process; Linux only, 0 elsewhere. */
function residentBytes(pid: number): number {
  if (process.platform !== "linux") return 0;
  const [, kib = "0"] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib) * 1_024;
}

/** A client that asks for every change of every order and reads one byte a second. */
function slowReader(url: string, path: string): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.write(`GET ${path} HTTP/1.1\r\nhost: ${hostname}\r\n\r\n`);
  socket.pause();
  const read = () => {
    if (socket.destroyed) return;
    socket.read(1);
    systemClock.setTimer(read, 1_000);
  };
  read();
  socket.on("error", () => undefined);
  return socket;
}

it.each(SERVERS)("bears watchers that read one byte a second, R%i", async (servers) => {
  const readers: Socket[] = [];
  try {
    await faultRun({
      name: `${SLOW_READERS} watchers that read one byte a second`,
      servers,
      load: { orders: 2_000, seed: 1_001, ratePerS: 80 },
      faults: async ({ system, load, hit }) => {
        const [gateway] = system.gateways;
        const [url = ""] = system.gatewayUrls;
        await load.reached(300);
        const beforeBytes = residentBytes(gateway?.pid ?? 0);
        hit();
        for (let count = 0; count < SLOW_READERS; count++)
          readers.push(slowReader(url, "/v1/orders:watch?snapshot_size=500"));
        await load.reached(1_900);
        const grownBytes = residentBytes(gateway?.pid ?? 0) - beforeBytes;
        report(`${SLOW_READERS} slow watchers: the gateway grew by ${Math.round(grownBytes / MIB)} MiB`);
        expect(grownBytes).toBeLessThan(GROWTH_BYTES_MAX);
      },
    });
  } finally {
    for (const reader of readers) reader.destroy();
  }
});

it.each(SERVERS)("takes 1,000 watchers back after its death, R%i", async (servers) => {
  let crowd: WatchCrowd | undefined;
  try {
    await faultRun({
      name: "kill -9 of the gateway with 1,000 watchers, twice",
      servers,
      load: { orders: 1_200, seed: 1_002, ratePerS: 40 },
      faults: async ({ system, load, hit }) => {
        const [gateway] = system.gateways;
        const [url = ""] = system.gatewayUrls;
        crowd = new WatchCrowd(CROWD, () => `${url}/v1/analytics/total-sales:watch`);
        const all = async () => {
          const startMs = systemClock.monotonicMs();
          while ((crowd?.listening ?? 0) < CROWD && systemClock.monotonicMs() - startMs < BACK_MS_MAX)
            await sleep(systemClock, POLL_MS);
          expect(crowd?.listening, "watchers that are back").toBe(CROWD);
          return Math.round(systemClock.monotonicMs() - startMs);
        };
        await load.reached(50);
        const joinedMs = await all();
        for (const count of [300, 700]) {
          await load.reached(count);
          hit();
          await gateway?.kill();
          await gateway?.start();
          await sleep(systemClock, POLL_MS);
          report(`1,000 watchers: joined in ${joinedMs} ms, back after a kill in ${await all()} ms`);
        }
        crowd.stop();
      },
    });
  } finally {
    crowd?.stop();
  }
});
