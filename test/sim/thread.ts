import { parentPort, workerData } from "node:worker_threads";
import { plant } from "./loader.ts";
import { PLANTS } from "./plants.ts";
import type { ThreadData } from "./threads.ts";

const { plant: name, isTraced, isHashed } = workerData as ThreadData;
const planted = PLANTS.filter((it) => it.name === name);
if (name !== undefined && planted.length === 0) throw new Error(`there is no planted bug ${name}`);
plant(planted);
const { runSchedule } = await import("./schedule.ts");

const port = parentPort;
if (port === null) throw new Error("this file runs as a thread of main.ts");

/** What failed is run again with a trace: the same seed does the same. */
function run(seed: number) {
  const result = runSchedule(seed, { isTraced, isHashed });
  return result.violation === undefined || isTraced ? result : runSchedule(seed, { isTraced: true });
}

port.on("message", (seeds: readonly number[]) => {
  if (seeds.length === 0) return port.close();
  // In a macrotask of its own: a schedule flushes microtasks, which cannot be done from within one.
  setImmediate(() => {
    const results = [];
    for (const seed of seeds) {
      port.postMessage(seed); // whoever watches sees where it spins, if it does
      const result = run(seed);
      results.push(result);
      if (result.violation !== undefined && name !== undefined) break;
    }
    port.postMessage(results);
  });
});
