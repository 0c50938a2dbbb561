import { silentLogger } from "../platform/log.ts";
import { openBucket } from "../platform/nats-bucket.ts";
import { connectNats, type NatsConnection, type NatsCredentials } from "../platform/nats.ts";
import { type Bus, createJetStreamBus, createTopology, type Topology } from "../actors/runtime/index.ts";
import { decode } from "./decode.ts";
import { ExitError } from "./exit-error.ts";
import type { Terminal } from "./terminal.ts";

type Stored = NonNullable<Awaited<ReturnType<Bus["last"]>>>;

/** What to look at, as it was typed. */
export type Target =
  | { readonly bucket: string }
  | { readonly stream: string; readonly sequence: number }
  | { readonly stream: string; readonly subject: string };

/**
 * `LOG 42` is a message by its sequence, `actors order.demo.ord_1` a key of a bucket, `actors` the bucket itself,
 * `log.core.0` the newest message of a subject.
 * @throws ExitError when it is none of them
 */
export function targetOf(topology: Topology, what: string, which: string | undefined): Target {
  const streams: readonly string[] = Object.values(topology.streams);
  const buckets = streams.filter((name) => name.startsWith("KV_")).map((name) => name.slice(3));
  if (which !== undefined) {
    if (streams.includes(what) && /^\d+$/.test(which)) return { stream: what, sequence: Number(which) };
    if (streams.includes(what)) return { stream: what, subject: which };
    if (buckets.includes(what)) return { stream: `KV_${what}`, subject: `$KV.${what}.${which}` };
    throw new ExitError(
      `there is no stream or bucket ${what}: use one of ${[...streams, ...buckets].join(", ")}`,
      64,
    );
  }
  if (buckets.includes(what)) return { bucket: what };
  const stream = streamOf(topology, what);
  if (stream !== undefined) return { stream, subject: what };
  throw new ExitError(
    `${what} is no subject of ours: try log.core.0, actors order.demo.<id>, ${topology.streams.log} 42 or ev.demo.>`,
    64,
  );
}

function streamOf({ streams }: Topology, subject: string): string | undefined {
  const [head = "", bucket = ""] = subject.split(".");
  if (head === "$KV") return `KV_${bucket}`;
  const byHead: Readonly<Record<string, string>> = {
    inbox: streams.inbox,
    timer: streams.inbox,
    log: streams.log,
    task: streams.tasks,
    retry: streams.tasks,
    ev: streams.events,
    evmark: streams.events,
    dead: streams.dead,
  };
  return byHead[head];
}

/** @throws ExitError when there is no such message */
async function find(bus: Bus, target: Exclude<Target, { readonly bucket: string }>): Promise<Stored> {
  const found =
    "sequence" in target
      ? await bus.get(target.stream, target.sequence)
      : await bus.last(target.stream, await newestSubject(bus, target.stream, target.subject));
  if (found !== undefined) return found;
  const name = "sequence" in target ? `message ${target.sequence}` : `message on ${target.subject}`;
  throw new ExitError(`${target.stream} has no ${name}`);
}

/** With wildcards: the one subject that matches; several are listed, so that one can be chosen. */
async function newestSubject(bus: Bus, stream: string, subject: string): Promise<string> {
  if (!/[*>]/.test(subject)) return subject;
  const subjects = [...(await bus.subjects(stream, subject)).keys()].toSorted();
  const [only] = subjects;
  if (only === undefined) throw new ExitError(`${stream} has no message on ${subject}`);
  if (subjects.length === 1) return only;
  const listed = subjects.slice(0, SUBJECTS_SHOWN_MAX).map((name) => `  ${name}`);
  const more = subjects.length > listed.length ? [`  … and ${subjects.length - listed.length} more`] : [];
  throw new ExitError([`${subjects.length} subjects match ${subject}:`, ...listed, ...more].join("\n"));
}

const SUBJECTS_SHOWN_MAX = 50;

/** Where to look: a NATS, and who we are there. */
export interface InspectOptions {
  readonly servers: string;
  readonly credentials?: NatsCredentials;
}

/**
 * Prints a stored message as JSON: where it is, its headers, and its bytes decoded. Of a bucket, how much it holds and
 * some of its keys.
 * @throws ExitError, NatsConnectError
 */
export async function inspect(
  terminal: Terminal,
  options: InspectOptions,
  what: string,
  which: string | undefined,
): Promise<void> {
  const target = targetOf(createTopology(), what, which);
  const nc = await connectNats({
    ...options,
    name: "tradewind inspect",
    log: silentLogger,
    startAttemptsMax: 1,
  });
  try {
    const shown = "bucket" in target ? await bucketView(nc, target.bucket) : await messageView(nc, target);
    terminal.out(JSON.stringify(shown, null, 2));
  } finally {
    await nc.close();
  }
}

async function messageView(nc: NatsConnection, target: Parameters<typeof find>[1]) {
  const bus = createJetStreamBus({ nc, log: silentLogger });
  try {
    const { subject, sequence, timestampMs, headers, data } = await find(bus, target);
    const stored = { stream: target.stream, subject, sequence, stored: new Date(timestampMs).toISOString() };
    return { ...stored, bytes: data.length, headers, value: decode(subject, data) };
  } finally {
    bus.close();
  }
}

async function bucketView(nc: NatsConnection, name: string) {
  const bucket = await openBucket(nc, name);
  const { values, bytes, replicas } = bucket;
  return { bucket: name, values, bytes, replicas, keys: await bucket.keys(">", SUBJECTS_SHOWN_MAX) };
}
