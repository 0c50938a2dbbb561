import { LOGS_METADATA, type StreamPlan } from "./stream-plan.ts";
import type { GroupConfig, Topology } from "../topology.ts";

/** A stream as the server has it. */
export interface StreamFacts extends Omit<StreamPlan, "bucket"> {
  readonly messages: number;
  readonly createdAtMs: number;
  /** Settings that no plan asks for: limits by age or count, another storage or retention. */
  readonly surprises: readonly string[];
}

/** The streams are not as this build needs them. Says which, what differs, and what to do. */
export class TopologyError extends Error {
  override readonly name = "TopologyError";
  /** EX_CONFIG of sysexits. */
  readonly exitCode = 78;
}

/** Settings that another process or an operator must not have changed. The byte limit and the texts may differ. */
const FIXED = [
  "discardNew",
  "messagesPerSubjectMax",
  "dedupeWindowMs",
  "schedules",
  "ttl",
  "atomic",
  "replicas",
] as const;

/** Every difference that matters, in words; empty if there is none. */
export function differencesOf(plan: StreamPlan, facts: StreamFacts): readonly string[] {
  const differences: string[] = FIXED.filter((key) => plan[key] !== facts[key]).map(
    (key) => `${key} is ${String(facts[key])}, needed is ${String(plan[key])}`,
  );
  const subjects = plan.subjects.toSorted().join(" ");
  const present = facts.subjects.toSorted().join(" ");
  if (subjects !== present) differences.push(`subjects are ${present}, needed are ${subjects}`);
  return [...differences, ...facts.surprises];
}

/** @throws TopologyError that names every difference that matters */
export function checkStream(plan: StreamPlan, facts: StreamFacts): void {
  const differences = differencesOf(plan, facts);
  if (differences.length === 0) return;
  throw new TopologyError(
    `stream ${plan.name} is not as needed: ${differences.join("; ")}. ` +
      `Correct it with \`nats stream edit ${plan.name}\`, or use another set of streams`,
  );
}

/** True if something that may change has changed: byte limit, description, metadata. */
export function isOutdated(plan: StreamPlan, facts: StreamFacts): boolean {
  const isMetadataMissing = Object.entries(plan.metadata).some(
    ([key, value]) => facts.metadata[key] !== value,
  );
  return plan.bytesMax !== facts.bytesMax || plan.description !== facts.description || isMetadataMissing;
}

/** How many logs each group was made with. */
export function storedLogs(journal: StreamFacts): {
  readonly logs?: number;
  readonly analyticsLogs?: number;
} {
  const of = (group: string) => Number(journal.metadata[`${LOGS_METADATA}${group}`] ?? "0");
  return {
    ...(of("core") > 0 && { logs: of("core") }),
    ...(of("analytics") > 0 && { analyticsLogs: of("analytics") }),
  };
}

/** The number of logs of a group is fixed: actors would move between logs. @throws TopologyError */
export function checkLogs(groups: readonly GroupConfig[], journal: StreamFacts): void {
  for (const { name, logs } of groups) {
    const stored = journal.metadata[`${LOGS_METADATA}${name}`];
    if (stored === undefined || Number(stored) === logs) continue;
    throw new TopologyError(
      `group ${name} was created with ${stored} logs, configured are ${logs}: unset LOGS or set it to ${stored}`,
    );
  }
}

/**
 * A stream that is missing beside others was deleted: making it again would run on with empty state. LOG is made last,
 * so that a first start that was cut short is none of these cases. @throws TopologyError
 */
export function checkMissing(topology: Topology, found: ReadonlyMap<string, StreamFacts>): void {
  const { log } = topology.streams;
  // Leases hold nothing that lasts.
  const lasting = Object.values(topology.streams).filter(
    (name) => name !== log && name !== topology.streams.leases,
  );
  if (found.has(log)) {
    const missing = lasting.filter((name) => !found.has(name));
    if (missing.length === 0) return;
    throw new TopologyError(
      `stream ${missing.join(", ")} is missing though ${log} exists: restore it with \`nats stream restore\`, ` +
        "or remove all streams of the set to start from nothing",
    );
  }
  const left = lasting.filter((name) => (found.get(name)?.messages ?? 0) > 0);
  if (left.length === 0) return;
  throw new TopologyError(
    `stream ${log} is missing though ${left.join(", ")} is not empty: restore it with \`nats stream restore\`, ` +
      "or remove all streams of the set to start from nothing",
  );
}
