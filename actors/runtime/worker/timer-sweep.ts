import type { Clock } from "../../../platform/clock.ts";
import { RecordSchema } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { BusError, type Bus } from "../bus/bus.ts";
import type { LogOwner } from "../log/log-owner.ts";
import type { Topology } from "../topology.ts";
import { decode } from "../codec/decode.ts";

/** Records looked at in one step, one step every few seconds: slow on purpose. */
const PAGE_RECORDS = 256;
/** A timer is missed when it is this late; the server fires within a second. */
const OVERDUE_MS_MIN = 30_000;

/**
 * Looks through the bucket for timers that should have fired long ago and arms them again under the same arm id
 * (J21): a schedule can be lost with a full or restored INBOX. One firing too many is harmless.
 */
export class TimerSweep {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #topology: Topology;
  readonly #group: string;
  #next = 1;

  constructor(bus: Bus, clock: Clock, topology: Topology, group: string) {
    this.#bus = bus;
    this.#clock = clock;
    this.#topology = topology;
    this.#group = group;
  }

  /** Looks at the next page; starts over at the end. */
  async step(ownerOf: (log: number) => LogOwner | undefined): Promise<void> {
    const { streams } = this.#topology;
    if (this.#topology.group(this.#group).reads === "events") return; // a projection has no timers
    let page;
    try {
      page = await this.#bus.range(streams.actors, "$KV.>", this.#next, PAGE_RECORDS);
    } catch (error) {
      if (error instanceof BusError) return;
      throw error;
    }
    const last = page.at(-1);
    this.#next = last === undefined ? 1 : last.sequence + 1;
    const lateMs = BigInt(this.#clock.nowMs() - OVERDUE_MS_MIN);
    for (const { subject, data } of page) {
      const [kind = "", tenant = "", key = ""] = subject.split(".").slice(-3);
      if (kind === "mark" || data.length === 0 || this.#topology.groupOf(kind) !== this.#group) continue;
      const owner = ownerOf(this.#topology.logOf(this.#group, tenant, key));
      if (owner === undefined) continue;
      const { timers } = decode(RecordSchema, data);
      for (const { name: timer, arm, deadlineMs } of timers) {
        if (deadlineMs < lateMs) owner.rearm({ kind, tenant, key, timer, arm, deadlineMs });
      }
    }
  }
}
