import type { NatsConnection } from "@nats-io/nats-core";
import { type Clock, sleep, systemClock } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import { checkServer } from "../../../platform/nats.ts";
import { append } from "./append-jetstream.ts";
import {
  checkLogs,
  checkMissing,
  checkStream,
  isOutdated,
  storedLogs,
  type StreamFacts,
  TopologyError,
} from "./bootstrap.ts";
import { BusError } from "./bus.ts";
import { ApiCallError, ERROR_CODE } from "./errors-jetstream.ts";
import { genesis } from "./genesis.ts";
import { Requests } from "./requests-jetstream.ts";
import { type StreamPlan, type StreamPlanOptions, streamPlans } from "./stream-plan.ts";
import { createTopology, type Topology } from "../topology.ts";

/** A cluster that has just started elects its leaders within this. */
const READY_MS_MAX = 30_000;
const RETRY_MS = 250;
const CALL_TIMEOUT_MS = 5_000;
const NANOS_PER_MS = 1_000_000;

export interface EnsureTopologyOptions extends StreamPlanOptions {
  readonly nc: NatsConnection;
  readonly topology: Topology;
  readonly log: Logger;
  readonly clock?: Clock;
}

/** Stream settings as the API speaks them. */
interface StreamConfig {
  readonly name: string;
  readonly description?: string;
  readonly subjects?: readonly string[];
  readonly retention: string;
  readonly storage: string;
  readonly discard: string;
  readonly num_replicas: number;
  readonly max_bytes: number;
  readonly max_msgs: number;
  readonly max_msgs_per_subject: number;
  readonly max_age: number;
  readonly duplicate_window: number;
  readonly allow_direct: boolean;
  readonly allow_msg_schedules?: boolean;
  readonly allow_msg_ttl?: boolean;
  readonly allow_atomic?: boolean;
  readonly allow_rollup_hdrs?: boolean;
  readonly deny_delete?: boolean;
  readonly metadata?: Readonly<Record<string, string>>;
}

interface StreamInfo {
  readonly config: StreamConfig;
  readonly created: string;
  readonly state: { readonly messages: number };
}

/**
 * Makes the streams and buckets that are missing, checks those that are there, and gives every log its first message.
 * Safe to call by many processes at once.
 * @throws TopologyError if a stream is not as needed, NatsConnectError if the server is too old or has no JetStream
 */
export async function ensureTopology(options: EnsureTopologyOptions): Promise<void> {
  const { nc, topology, log, clock = systemClock } = options;
  await checkServer(nc);
  const requests = new Requests(nc, clock);
  try {
    const plans = streamPlans(topology, options);
    const found = new Map<string, StreamFacts>();
    // One that was missing at first may be another process's work since then, and not a loss: a last round finds none.
    let known: number;
    do {
      known = found.size;
      for (const { name } of plans.filter((plan) => !found.has(plan.name))) {
        const facts = await untilReady(clock, () => findStream(requests, name));
        if (facts !== undefined) found.set(name, facts);
      }
    } while (found.size > known);
    checkMissing(topology, found);
    const journal = found.get(topology.streams.log);
    if (journal !== undefined) checkLogs(topology.groups, journal);
    // LOG last: see checkMissing.
    const isLog = ({ name }: StreamPlan) => name === topology.streams.log;
    for (const plan of plans.toSorted((a, b) => Number(isLog(a)) - Number(isLog(b)))) {
      found.set(plan.name, await ensureStream(requests, plan, found.get(plan.name), log));
    }
    await appendGenesis(requests, topology, found);
  } finally {
    requests.close();
  }
}

/**
 * The names of the streams that are there, with as many logs as they were made for; undefined if no worker has made
 * them. Whoever sends to actors takes these: an actor's log follows from the number of logs.
 * @throws BusError
 */
export async function storedTopology(
  nc: NatsConnection,
  clock: Clock = systemClock,
): Promise<Topology | undefined> {
  const requests = new Requests(nc, clock);
  try {
    const journal = await findStream(requests, createTopology().streams.log);
    return journal && createTopology(storedLogs(journal));
  } finally {
    requests.close();
  }
}

async function ensureStream(
  requests: Requests,
  plan: StreamPlan,
  existing: StreamFacts | undefined,
  log: Logger,
): Promise<StreamFacts> {
  const { clock } = requests;
  let facts = existing;
  if (facts === undefined) {
    await untilReady(clock, () =>
      requests.api(`STREAM.CREATE.${plan.name}`, toConfig(plan), CALL_TIMEOUT_MS),
    );
    log.info({ stream: plan.name, replicas: plan.replicas }, "stream created");
    facts = await untilReady(clock, () => newStream(requests, plan.name));
  }
  // The echo tells what the server has understood: older ones drop settings silently.
  checkStream(plan, facts);
  if (!isOutdated(plan, facts)) return facts;
  const metadata = { ...facts.metadata, ...plan.metadata };
  const config = toConfig({ ...plan, metadata });
  await untilReady(clock, () => requests.api(`STREAM.UPDATE.${plan.name}`, config, CALL_TIMEOUT_MS));
  log.info({ stream: plan.name, bytesMax: plan.bytesMax }, "stream updated");
  return facts;
}

/** In a cluster a stream that another process makes at this moment is acked to us before it can be found. */
async function newStream(requests: Requests, name: string): Promise<StreamFacts> {
  const facts = await findStream(requests, name);
  if (facts === undefined) throw new BusError(`stream ${name} was made and cannot be found`);
  return facts;
}

/** A stream as it is; undefined if there is none. @throws BusError */
export async function findStream(requests: Requests, name: string): Promise<StreamFacts | undefined> {
  try {
    return toFacts(await requests.api<StreamInfo>(`STREAM.INFO.${name}`));
  } catch (error) {
    if (error instanceof ApiCallError && error.errorCode === ERROR_CODE.streamNotFound) return undefined;
    throw error;
  }
}

function toConfig(plan: StreamPlan): StreamConfig {
  const limit = (value: number) => (value === Infinity ? -1 : value);
  return {
    name: plan.name,
    description: plan.description,
    subjects: plan.subjects,
    retention: "limits",
    storage: "file",
    discard: plan.discardNew ? "new" : "old",
    num_replicas: plan.replicas,
    max_bytes: limit(plan.bytesMax),
    max_msgs: -1,
    max_msgs_per_subject: limit(plan.messagesPerSubjectMax),
    max_age: 0,
    duplicate_window: plan.dedupeWindowMs * NANOS_PER_MS,
    allow_direct: true,
    allow_msg_schedules: plan.schedules,
    allow_msg_ttl: plan.ttl,
    allow_atomic: plan.atomic,
    // What `nats kv` expects of a bucket; schedules replace each other by roll-up.
    allow_rollup_hdrs: plan.bucket || plan.schedules,
    deny_delete: plan.bucket,
    metadata: plan.metadata,
  };
}

function toFacts({ config, created, state }: StreamInfo): StreamFacts {
  const limit = (value: number) => (value < 0 ? Infinity : value);
  const surprises: string[] = [];
  if (config.retention !== "limits") surprises.push(`retention is ${config.retention}, needed is limits`);
  if (config.storage !== "file") surprises.push(`storage is ${config.storage}, needed is file`);
  if (config.max_age > 0) surprises.push("messages have a maximum age, needed is none");
  if (config.max_msgs > 0) surprises.push("the number of messages is limited, needed is no limit");
  if (!config.allow_direct) surprises.push("direct gets are off, needed are on");
  return {
    name: config.name,
    description: config.description ?? "",
    subjects: config.subjects ?? [],
    discardNew: config.discard === "new",
    bytesMax: limit(config.max_bytes),
    messagesPerSubjectMax: limit(config.max_msgs_per_subject),
    dedupeWindowMs: config.duplicate_window / NANOS_PER_MS,
    schedules: config.allow_msg_schedules ?? false,
    ttl: config.allow_msg_ttl ?? false,
    atomic: config.allow_atomic ?? false,
    replicas: config.num_replicas,
    metadata: config.metadata ?? {},
    messages: state.messages,
    createdAtMs: Date.parse(created),
    surprises,
  };
}

async function appendGenesis(
  requests: Requests,
  topology: Topology,
  found: ReadonlyMap<string, StreamFacts>,
): Promise<void> {
  const { clock } = requests;
  const createdMs = (stream: string) => found.get(stream)?.createdAtMs ?? 0;
  for (const message of genesis(topology, createdMs, clock.nowMs())) {
    await untilReady(clock, async () => {
      const outcome = await append(requests, message);
      if (outcome.kind === "refused")
        throw new TopologyError(`${message.subject} was refused: ${outcome.reason}`);
      // A conflict says that the log has begun already.
      if (outcome.kind === "unknown") throw new BusError(`${message.subject}: ${outcome.reason}`);
    });
  }
}

/** Repeats while leaders are being elected. What is asked here may be asked twice. */
async function untilReady<T>(clock: Clock, run: () => Promise<T>): Promise<T> {
  const giveUpMs = clock.monotonicMs() + READY_MS_MAX;
  for (;;) {
    try {
      return await run();
    } catch (error) {
      // Errors of the API below 500 do not go away by waiting.
      const isLasting = !(error instanceof BusError) || (error instanceof ApiCallError && error.isLasting);
      if (isLasting || clock.monotonicMs() > giveUpMs) throw error;
      await sleep(clock, RETRY_MS);
    }
  }
}
