/**
 * Loaded before the main file of every process that a benchmark starts. Its standard input is a pipe of the
 * benchmark: its end ends this process however the benchmark dies, and lines on it switch the CPU profiler.
 *
 *     profile start
 *     profile stop <file>
 */
import { renameSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { createInterface } from "node:readline";

const SAMPLING_US = 500;

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
