/**
 * Loaded before the main file of every process that a benchmark starts. Its standard input is a pipe of the
 * benchmark: its end ends this process however the benchmark dies, and lines on it switch the CPU profiler.
 *
 *     profile start
 *     profile stop <file>
 *
 * BENCH_RECORDS_CACHED_MAX replaces the limit of the same name, to see what a cache does that is far too small.
 */
import { renameSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { registerHooks } from "node:module";
import { createInterface } from "node:readline";

const SAMPLING_US = 500;
const LIMIT = /recordsCachedMax: [\d_]+/;

const recordsCachedMax = process.env["BENCH_RECORDS_CACHED_MAX"];
if (recordsCachedMax !== undefined) replaceLimit(`recordsCachedMax: ${Number(recordsCachedMax)}`);

const session = new Session();

async function obey(line: string): Promise<void> {
  const [, verb, file = ""] = line.split(" ");
  if (verb === "start") {
    session.connect();
    await session.post("Profiler.enable");
    await session.post("Profiler.setSamplingInterval", { interval: SAMPLING_US });
    await session.post("Profiler.start");
  } else {
    const { profile } = await session.post("Profiler.stop");
    session.disconnect();
    writeFileSync(`${file}.part`, JSON.stringify(profile));
    renameSync(`${file}.part`, file);
  }
}

createInterface({ input: process.stdin })
  .on("line", (line) => void obey(line))
  .once("close", () => process.kill(process.pid, "SIGKILL"));
(process.stdin as unknown as { unref(): void }).unref();

/** @throws Error when loading the limits, if there is no such one any more */
function replaceLimit(text: string): void {
  registerHooks({
    load: (url, context, nextLoad) => {
      const loaded = nextLoad(url, context);
      if (!url.endsWith("/actors/runtime/limits.ts")) return loaded;
      const { source: found } = loaded;
      const source = typeof found === "string" ? found : Buffer.from(found as Uint8Array).toString("utf8");
      if (!LIMIT.test(source)) throw new Error(`${url} has no ${LIMIT.source}`);
      return { ...loaded, source: source.replace(LIMIT, text) };
    },
  });
}
