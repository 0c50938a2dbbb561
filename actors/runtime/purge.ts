import { BusError, type Bus } from "./bus.ts";
import { nextSequence } from "./inputs.ts";
import type { LogOwner } from "./log-owner.ts";
import type { Topology } from "./topology.ts";

/** Drops what a log's committed position has passed in INBOX; timers that wait are other subjects and stay (J19). */
export async function purgeBehind(
  bus: Bus,
  topology: Topology,
  group: string,
  owner: LogOwner,
): Promise<void> {
  const taken = owner.committed("inbox");
  if (taken === undefined || taken.sequence === 0) return;
  try {
    await bus.purge(topology.streams.inbox, topology.inbox(group, owner.log), nextSequence(taken));
  } catch (error) {
    if (!(error instanceof BusError)) throw error; // the next round purges more
  }
}
