import { createHash } from "node:crypto";
import type { System } from "./system.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** Sixteen hex digits for all that the streams hold, times and sequences included: any difference shows in them. */
export function historyHash({ nats, topology }: System, { steps, nowMs }: VirtualTime): string {
  const hash = createHash("sha256").update(`${steps} ${nowMs}`);
  for (const stream of Object.values(topology.streams)) {
    for (const { subject, sequence, timestampMs, headers, data } of nats.inspect(stream))
      hash.update(`${subject} ${sequence} ${timestampMs} ${JSON.stringify(headers)}`).update(data);
  }
  return hash.digest("hex").slice(0, 16);
}
