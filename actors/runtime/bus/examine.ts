import type { Bus } from "./bus.ts";
import type { InputSource } from "../log/inputs.ts";
import { readLogEnd } from "../log/journal.ts";
import { checkedPositions, HaltError, inputStreams, type StreamState } from "../log/takeover.ts";
import type { Topology } from "../topology.ts";

/** A log as its last commit describes it. */
export interface LogCondition {
  readonly group: string;
  readonly log: number;
  /** Worker that owns it by the journal; empty after a hand-over. It need not be alive. */
  readonly owner: string;
  /** Takeovers in a row without a commit in between. */
  readonly takeovers: number;
  /** Why no worker can take it over; empty if any can. */
  readonly halted: string;
}

/** Reads the end of every log and judges it as a worker would that takes it over. Changes nothing. @throws BusError */
export async function examineLogs(bus: Bus, topology: Topology): Promise<readonly LogCondition[]> {
  const perGroup = await Promise.all(
    topology.groups.map(async ({ name: group, logs }) => {
      const streams = await streamStates(bus, topology, group);
      return Promise.all(
        Array.from({ length: logs }, (_, log) => examineLog(bus, topology, streams, group, log)),
      );
    }),
  );
  return perGroup.flat();
}

async function streamStates(bus: Bus, topology: Topology, group: string) {
  const states = new Map<InputSource, StreamState>();
  for (const [source, name] of inputStreams(topology, group)) {
    states.set(source, { name, ...(await bus.status(name)) });
  }
  return states;
}

async function examineLog(
  bus: Bus,
  topology: Topology,
  streams: ReadonlyMap<InputSource, StreamState>,
  group: string,
  log: number,
): Promise<LogCondition> {
  const base = { group, log, owner: "", takeovers: 0 };
  const end = await readLogEnd(bus, topology.streams.log, topology.log(group, log));
  if (end === undefined) return { ...base, halted: "it has no genesis record" };
  const { owner, takeovers } = end.commit;
  try {
    checkedPositions(streams, end.commit);
    return { ...base, owner, takeovers, halted: "" };
  } catch (error) {
    if (!(error instanceof HaltError)) throw error;
    return { ...base, owner, takeovers, halted: error.message };
  }
}
