import { type Bus, examineStreams, type StreamCondition, type Topology } from "../../actors/runtime/index.ts";
import type { NatsConnection } from "../../platform/nats.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";
import { checkRoom } from "./server.ts";

/** How workers are started. */
export const START = "npm start (or node actors/main.ts --group core and --group analytics)";

/** What is there of our streams, so that the rest can be looked at. */
export interface StreamReport {
  readonly findings: readonly Finding[];
  /** Names of the streams that exist. */
  readonly present: ReadonlySet<string>;
}

/** All streams and buckets are there, set as needed, and have room. */
export async function checkStreams(nc: NatsConnection, bus: Bus, topology: Topology): Promise<StreamReport> {
  const streams = await examineStreams(nc, topology);
  const found = streams.filter(({ exists }) => exists);
  if (found.length === 0) {
    const text = "there are no streams of Tradewind: no worker has run against this NATS";
    return { findings: [problem("streams", text, START)], present: new Set() };
  }
  const wrong = [...missing(streams, topology), ...different(found), ...copies(found)];
  const room = await Promise.all(found.map(({ name }) => roomOf(bus, name)));
  const named = `all ${found.length} streams and buckets are there and set as needed`;
  return {
    findings: [
      ...(wrong.some(({ level }) => level === "problem") ? [] : [ok("streams", named)]),
      ...wrong,
      ...room.flat(),
    ],
    present: new Set(found.map(({ name }) => name)),
  };
}

function missing(streams: readonly StreamCondition[], { streams: names }: Topology): readonly Finding[] {
  return streams
    .filter(({ exists }) => !exists)
    .map(({ name }) => {
      const text = `stream ${name} is missing though others are there`;
      // Leases hold nothing that lasts: whoever starts next makes them again.
      if (name === names.leases)
        return problem("streams", text, "restart one worker: it makes the bucket again");
      return problem("streams", text, `stop all workers, then nats stream restore <backup of ${name}>`);
    });
}

function different(streams: readonly StreamCondition[]): readonly Finding[] {
  return streams
    .filter(({ differences }) => differences.length > 0)
    .map(({ name, differences }) =>
      problem("streams", `stream ${name}: ${differences.join("; ")}`, `nats stream edit ${name}`),
    );
}

function copies(streams: readonly StreamCondition[]): readonly Finding[] {
  const [first] = streams;
  if (first === undefined || first.replicas !== 2) return [];
  const text = "streams have 2 copies: one server away stops everything, and no more is safe than with 1";
  return [warning("streams", text, "STREAM_REPLICAS=3, and nats stream edit --replicas 3 for each stream")];
}

async function roomOf(bus: Bus, name: string): Promise<readonly Finding[]> {
  const { bytes, bytesMax } = await bus.status(name);
  if (bytesMax === Infinity) return [];
  const finding = checkRoom("storage", `stream ${name}`, bytes, bytesMax);
  return finding.level === "ok" ? [] : [finding];
}

/** What waits for somebody to decide. */
export async function checkDeadLetters(bus: Bus, topology: Topology): Promise<Finding> {
  const { messages } = await bus.status(topology.streams.dead);
  if (messages === 0) return ok("dead letters", "none");
  const text = `${messages} message(s) could not be applied and wait for a decision`;
  const fix = "npm run -s tradewind -- dead-letters (then dead-letters show, redrive or discard <id>)";
  return warning("dead letters", text, fix);
}
