import { fromBinary } from "@bufbuild/protobuf";
import {
  type ActorClient,
  type Bus,
  examineLogs,
  LIMITS,
  type LogCondition,
  type Topology,
} from "../../actors/runtime/index.ts";
import { openBucket } from "../../platform/nats-bucket.ts";
import type { NatsConnection } from "../../platform/nats.ts";
import { LeaseSchema } from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";
import { START } from "./streams.ts";

type Loads = ReturnType<ActorClient["loads"]>;

/** Leases that are read, at most. */
const LEASES_MAX = 256;

/** Somebody works for every group. @param serverNowMs by the server's clock */
export async function checkLeases(
  nc: NatsConnection,
  topology: Topology,
  serverNowMs: number,
): Promise<readonly Finding[]> {
  const bucket = await openBucket(nc, topology.streams.leases.slice("KV_".length));
  return Promise.all(
    topology.groups.map(async ({ name }) => {
      const keys = await bucket.keys(`${name}.*`, LEASES_MAX);
      const entries = await Promise.all(keys.map((key) => bucket.get(key)));
      const workers = entries.flatMap((entry) =>
        entry === undefined
          ? []
          : [{ worker: fromBinary(LeaseSchema, entry.value).worker, ageMs: serverNowMs - entry.storedMs }],
      );
      const live = workers.filter(({ ageMs }) => ageMs <= LIMITS.leaseMs);
      if (live.length > 0) {
        return ok("workers", `${name}: ${live.map(({ worker }) => worker).join(", ")}`);
      }
      const silent = workers.map(({ worker, ageMs }) => `${worker} for ${Math.round(ageMs / 1_000)} s`);
      const why = silent.length === 0 ? "there is no lease" : `silent: ${silent.join(", ")}`;
      return problem("workers", `no worker of the group ${name} is alive (${why})`, START);
    }),
  );
}

/** Every log can be taken over, and somebody says that it has it. */
export async function checkLogs(bus: Bus, topology: Topology, loads: Loads): Promise<readonly Finding[]> {
  const conditions = await examineLogs(bus, topology);
  const owned = new Set(loads.map(({ group, log }) => `${group}.${log}`));
  const findings = conditions.flatMap((condition) => logFindings(condition, owned));
  if (findings.length > 0) return findings;
  return [ok("logs", `all ${conditions.length} logs have an owner`)];
}

function logFindings(condition: LogCondition, owned: ReadonlySet<string>): readonly Finding[] {
  const { group, log, owner, takeovers, halted } = condition;
  const name = `log ${group}.${log}`;
  if (halted !== "") {
    const fix =
      'docs/operations.md, "A log stands still": restore the streams from one backup, restart the workers';
    return [problem("logs", `${name} stands still: ${halted}`, fix)];
  }
  if (!owned.has(`${group}.${log}`)) {
    const last = owner === "" ? "it was handed over" : `its last owner is ${owner.split("@")[0]}`;
    const fix = `${START}; with live workers, look at /readyz of each`;
    return [problem("logs", `${name} has no owner: ${last}`, fix)];
  }
  if (takeovers < LIMITS.crashLoopTakeoversMin) return [];
  const text = `${name} was taken over ${takeovers} times without a commit: something in it kills its workers`;
  return [
    warning("logs", text, "npm run -s tradewind -- dead-letters (CRASH_LOOP), and the logs of the workers"),
  ];
}

const BACKLOG_MS_SOON = 500;

/** How long the oldest message has waited, and how far reads are behind. */
export function checkBacklog(loads: Loads): readonly Finding[] {
  const findings = loads.flatMap(({ group, log, oldestAgeMs, projectionAgeMs, queued, halted }) => {
    const name = `log ${group}.${log}`;
    const ageMs = Number(oldestAgeMs);
    const more =
      "start another worker of the group; if all cores are busy, find the hot key: docs/operations.md";
    const found: Finding[] = [];
    if (halted !== "")
      found.push(
        problem("backlog", `${name} cannot commit: ${halted}`, 'docs/operations.md, "The store is full"'),
      );
    if (ageMs > LIMITS.backlogAgeMsMax)
      found.push(
        problem("backlog", `${name} is ${ageMs} ms behind (${queued} wait): commands are refused`, more),
      );
    else if (ageMs > BACKLOG_MS_SOON)
      found.push(warning("backlog", `${name} is ${ageMs} ms behind (${queued} wait)`, more));
    if (Number(projectionAgeMs) > LIMITS.backlogAgeMsMax)
      found.push(warning("backlog", `records of ${name} are ${projectionAgeMs} ms behind its commits`, more));
    return found;
  });
  if (findings.length > 0) return findings;
  const oldest = Math.max(0, ...loads.map(({ oldestAgeMs }) => Number(oldestAgeMs)));
  return [ok("backlog", `the oldest message has waited ${oldest} ms`)];
}
