import type { NatsConnection } from "@nats-io/nats-core";
import { type Clock, systemClock } from "../../../platform/clock.ts";
import { differencesOf } from "./bootstrap.ts";
import { findStream } from "./bootstrap-jetstream.ts";
import { Requests } from "./requests-jetstream.ts";
import { streamPlans } from "./stream-plan.ts";
import type { Topology } from "../topology.ts";

/** A stream of ours as the server has it, against what this build needs. */
export interface StreamCondition {
  readonly name: string;
  /** False: there is none, and nothing below says anything. */
  readonly exists: boolean;
  readonly replicas: number;
  /** Settings that must not differ and do, in words. */
  readonly differences: readonly string[];
}

/**
 * Compares every stream and bucket with what this build needs, without making or changing any. How many copies
 * there should be is not known here: those of the journal are taken for what is wanted.
 * @throws BusError
 */
export async function examineStreams(
  nc: NatsConnection,
  topology: Topology,
  clock: Clock = systemClock,
): Promise<readonly StreamCondition[]> {
  const requests = new Requests(nc, clock);
  try {
    const journal = await findStream(requests, topology.streams.log);
    const plans = streamPlans(topology, { replicas: journal?.replicas ?? 1 });
    return await Promise.all(
      plans.map(async (plan) => {
        const facts = await findStream(requests, plan.name);
        if (facts === undefined) return { name: plan.name, exists: false, replicas: 0, differences: [] };
        return {
          name: plan.name,
          exists: true,
          replicas: facts.replicas,
          differences: differencesOf(plan, facts),
        };
      }),
    );
  } finally {
    requests.close();
  }
}
