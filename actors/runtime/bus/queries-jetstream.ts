import type { Msg } from "@nats-io/nats-core";
import { assert } from "../assert.ts";
import { BusError, type StoredMessage, type StreamStatus } from "./bus.ts";
import { ApiCallError, ERROR_CODE } from "./errors-jetstream.ts";
import { LIMITS } from "../limits.ts";
import { directMessage, type GetAnswer, getMessage } from "./message-jetstream.ts";
import type { Requests } from "./requests-jetstream.ts";

/** Subjects of one multi-get of the server. */
const SUBJECTS_MAX = 1_024;
/** Messages of one answer to a range; more are asked for again. */
const RANGE_MESSAGES_MAX = 512;

const NO_CONTENT = 204;
const NOT_FOUND = 404;
/** Both mean nothing there; in a multi-get the second means that a message which is there could not be read. */
const NO_RESULTS = "No Results";
const NO_MESSAGE = "Message Not Found";

interface StreamInfo {
  /** Absent where there is no cluster. */
  readonly cluster?: { readonly leader?: string };
  readonly created: string;
  readonly config: { readonly max_bytes?: number };
  readonly state: {
    readonly first_seq: number;
    readonly last_seq: number;
    readonly messages: number;
    readonly bytes: number;
    readonly subjects?: Readonly<Record<string, number>>;
  };
  readonly total?: number;
}

/** From the leader. @throws BusError */
export function last(
  requests: Requests,
  stream: string,
  subject: string,
): Promise<StoredMessage | undefined> {
  return getFromLeader(requests, stream, { last_by_subj: subject });
}

/** From the leader. @throws BusError */
export function get(
  requests: Requests,
  stream: string,
  sequence: number,
): Promise<StoredMessage | undefined> {
  return getFromLeader(requests, stream, { seq: sequence });
}

async function getFromLeader(
  requests: Requests,
  stream: string,
  query: { readonly seq: number } | { readonly last_by_subj: string },
): Promise<StoredMessage | undefined> {
  try {
    const { message } = await requests.api<{ message: GetAnswer }>(`STREAM.MSG.GET.${stream}`, query);
    return getMessage(message);
  } catch (error) {
    if (error instanceof ApiCallError && error.errorCode === ERROR_CODE.noMessage) return undefined;
    throw error;
  }
}

/** As of one moment; any replica answers. @throws BusError also if a part of the answer is missing */
export async function lastMany(
  requests: Requests,
  stream: string,
  subjects: readonly string[],
): Promise<ReadonlyMap<string, StoredMessage>> {
  assert(subjects.length <= SUBJECTS_MAX, `${subjects.length} > ${SUBJECTS_MAX} subjects in one multi-get`);
  if (subjects.length === 0) return new Map();
  const { messages, pending } = await directGet(requests, stream, { multi_last: subjects }, NO_RESULTS);
  if (pending > 0)
    throw new BusError(`multi-get of ${stream}: ${pending} messages are missing from the answer`);
  return new Map(messages.map((message) => [message.subject, message]));
}

/** Any replica answers. @throws BusError also if a part of the answer is missing */
export async function range(
  requests: Requests,
  stream: string,
  filter: string,
  fromSequence: number,
  count: number,
): Promise<readonly StoredMessage[]> {
  const found: StoredMessage[] = [];
  for (let from = Math.max(1, fromSequence); found.length < count;) {
    const batch = Math.min(count - found.length, RANGE_MESSAGES_MAX);
    const query = { seq: from, next_by_subj: filter, batch };
    const { messages, pending } = await directGet(requests, stream, query, NO_MESSAGE);
    found.push(...messages);
    const end = messages.at(-1);
    if (end === undefined || pending === 0) break;
    from = end.sequence + 1;
  }
  return found;
}

interface DirectAnswer {
  readonly messages: readonly StoredMessage[];
  /** Messages that match and were not sent. */
  readonly pending: number;
}

/** The answer is a chain: each message names the one before it, and a status with 204 names the last. */
function directGet(requests: Requests, stream: string, query: object, none: string): Promise<DirectAnswer> {
  const subject = `$JS.API.DIRECT.GET.${stream}`;
  return new Promise((resolve, reject) => {
    const messages: StoredMessage[] = [];
    let lastSequence = 0;
    const fail = (why: string) => {
      reject(new BusError(`direct get of ${stream}: ${why}`));
      return true;
    };
    const end = (msg: Msg) => {
      const { code = 0, description = "" } = msg.headers ?? {};
      if (code === NOT_FOUND && messages.length === 0 && description === none) {
        resolve({ messages, pending: 0 });
        return true;
      }
      if (code !== NO_CONTENT) return fail(`${description} (${code})`);
      if (headerNumber(msg, "Nats-Last-Sequence") !== lastSequence) return fail("the answer was cut");
      resolve({ messages, pending: headerNumber(msg, "Nats-Num-Pending") });
      return true;
    };
    requests.ask(subject, JSON.stringify(query), LIMITS.readTimeoutMs, {
      onMessage: (msg) => {
        const message = directMessage(msg);
        if (message === undefined) return end(msg);
        if (headerNumber(msg, "Nats-Last-Sequence") !== lastSequence) return fail("the answer has a gap");
        lastSequence = message.sequence;
        messages.push(message);
        return false;
      },
      onSilence: fail,
    });
  });
}

function headerNumber(msg: Msg, name: string): number {
  return Number(msg.headers?.get(name) ?? "0");
}

/** @throws BusError */
export async function subjects(
  requests: Requests,
  stream: string,
  filter: string,
): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  for (;;) {
    const info = await streamInfo(requests, stream, { subjects_filter: filter, offset: found.size });
    const page = Object.entries(info.state.subjects ?? {});
    for (const [subject, count] of page) found.set(subject, count);
    if (page.length === 0 || found.size >= (info.total ?? 0)) return found;
  }
}

/**
 * From the leader. Where there is none any member answers, with what it has itself: a log that has read further than
 * that would be taken for one whose stream was rolled back (J4).
 */
async function streamInfo(requests: Requests, stream: string, request: object = {}): Promise<StreamInfo> {
  const info = await requests.api<StreamInfo>(`STREAM.INFO.${stream}`, request);
  const { cluster } = info;
  if (cluster !== undefined && (cluster.leader ?? "") === "") throw new BusError(`${stream} has no leader`);
  return info;
}

/** @throws BusError */
export async function status(requests: Requests, stream: string): Promise<StreamStatus> {
  const { created, config, state } = await streamInfo(requests, stream);
  const { max_bytes: bytesMax = -1 } = config;
  return {
    firstSequence: state.first_seq,
    lastSequence: state.last_seq,
    createdAtMs: Date.parse(created),
    messages: state.messages,
    bytes: state.bytes,
    bytesMax: bytesMax < 0 ? Infinity : bytesMax,
  };
}

/** @throws BusError */
export async function purgeAcked(
  requests: Requests,
  stream: string,
  consumer: string,
  filter: string,
): Promise<number> {
  const info = await requests.api<{ ack_floor: { stream_seq: number } }>(
    `CONSUMER.INFO.${stream}.${consumer}`,
  );
  return purge(requests, stream, filter, info.ack_floor.stream_seq + 1);
}

/** @throws BusError */
export async function purge(
  requests: Requests,
  stream: string,
  filter: string,
  belowSequence?: number,
): Promise<number> {
  if (belowSequence !== undefined && belowSequence <= 1) return 0; // the server takes 0 for "all"
  const seq = belowSequence === undefined || belowSequence === Infinity ? {} : { seq: belowSequence };
  const { purged } = await requests.api<{ purged: number }>(`STREAM.PURGE.${stream}`, { filter, ...seq });
  return purged;
}
