import type { Topology } from "../topology.ts";

/** What one stream must be, in words that the memory model and JetStream both follow. */
export interface StreamPlan {
  readonly name: string;
  readonly description: string;
  readonly subjects: readonly string[];
  /** Refuses what is over the byte limit. Schedules exclude it (10052): those streams get no limit of their own. */
  readonly discardNew: boolean;
  /** Infinity: no limit of its own. */
  readonly bytesMax: number;
  /** Infinity: keeps all. */
  readonly messagesPerSubjectMax: number;
  readonly dedupeWindowMs: number;
  readonly schedules: boolean;
  readonly ttl: boolean;
  readonly atomic: boolean;
  /** A key-value bucket, readable with `nats kv`. */
  readonly bucket: boolean;
  readonly replicas: number;
  readonly metadata: Readonly<Record<string, string>>;
}

/** How the streams of one set are built. */
export interface StreamPlanOptions {
  /** 1, or 3 in production. */
  readonly replicas?: number;
  /** Bytes that the whole set may take, by default without limit; no less than 64 MiB. */
  readonly storeBytesMax?: number;
}

/**
 * Parts of the store in per cent. INBOX and TASKS hold schedules, so they can have no limit of their own that refuses:
 * the 30 per cent that the others cannot take are left to them (J24).
 */
const SHARE_PERCENT = { log: 25, actors: 20, events: 20, dead: 4, leases: 1 } as const;
const STORE_BYTES_MIN = 67_108_864;

/** Metadata of the journal: the number of logs of the group named behind it. */
export const LOGS_METADATA = "tradewind.logs.";

const BASE = {
  discardNew: true,
  bytesMax: Infinity,
  messagesPerSubjectMax: Infinity,
  dedupeWindowMs: 120_000,
  schedules: false,
  ttl: false,
  atomic: false,
  bucket: false,
  metadata: { "tradewind.owner": "tradewind" },
};

/** The streams of a topology. */
export function streamPlans(topology: Topology, options: StreamPlanOptions = {}): readonly StreamPlan[] {
  const { replicas = 1, storeBytesMax = Infinity } = options;
  if (storeBytesMax < STORE_BYTES_MIN) {
    throw new RangeError(`storeBytesMax is ${storeBytesMax}, give at least ${STORE_BYTES_MIN}`);
  }
  const { streams } = topology;
  const share = (percent: number) =>
    storeBytesMax === Infinity ? Infinity : Math.floor((storeBytesMax * percent) / 100);
  const base = { ...BASE, replicas };
  const bucket = { ...base, bucket: true, messagesPerSubjectMax: 1, ttl: true };
  const logs = Object.fromEntries(topology.groups.map((g) => [`${LOGS_METADATA}${g.name}`, String(g.logs)]));
  return [
    {
      ...base,
      name: streams.inbox,
      description: "Tradewind: commands, task outcomes and timers on their way to the actors",
      subjects: [topology.inbox("*", "*"), topology.timer("*", "*", "*", "*", "*", ">")],
      discardNew: false,
      schedules: true,
    },
    {
      ...base,
      name: streams.log,
      description: "Tradewind: the journal, one message is one commit; the truth",
      subjects: [topology.log("*", "*")],
      bytesMax: share(SHARE_PERCENT.log),
      metadata: { ...base.metadata, ...logs },
    },
    {
      ...bucket,
      name: streams.actors,
      description: "Tradewind: each actor's record, derived from the journal",
      subjects: [bucketSubjects(streams.actors)],
      bytesMax: share(SHARE_PERCENT.actors),
      atomic: true,
    },
    {
      ...base,
      name: streams.tasks,
      description: "Tradewind: work that touches the outside world, and its retries",
      subjects: [topology.task("*", "*", "*", ">"), topology.retry("*", "*", "*", ">")],
      discardNew: false,
      schedules: true,
    },
    {
      ...base,
      name: streams.events,
      description: "Tradewind: domain events as JSON, the archive",
      subjects: [topology.event("*", "*", "*", ">"), topology.eventMark("*", "*")],
      bytesMax: share(SHARE_PERCENT.events),
      atomic: true,
    },
    {
      ...base,
      name: streams.dead,
      description: "Tradewind: messages that could not be applied, until redriven or discarded",
      subjects: [topology.dead("*", "*", "*", ">")],
      bytesMax: share(SHARE_PERCENT.dead),
    },
    {
      ...bucket,
      name: streams.leases,
      description: "Tradewind: which worker is alive",
      subjects: [bucketSubjects(streams.leases)],
      bytesMax: share(SHARE_PERCENT.leases),
    },
  ];
}

function bucketSubjects(stream: string): string {
  return `$KV.${stream.slice("KV_".length)}.>`;
}
