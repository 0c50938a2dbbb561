import type { Msg, MsgHdrs } from "@nats-io/nats-core";
import type { Append, Headers, StoredMessage } from "./bus.ts";

/** Set by the server or meant for it; what a caller stored are the others. */
const SERVER_HEADER = /^Nats-(?!Scheduler$|Marker-Reason$)/;
const NONE: Headers = Object.freeze({});

/** The headers that the sender set. */
export function ownHeaders(all: MsgHdrs | undefined): Headers {
  if (all === undefined) return NONE;
  const own: Record<string, string> = {};
  for (const [name, values] of all) {
    if (!SERVER_HEADER.test(name)) own[name] = values[0] ?? "";
  }
  return own;
}

const HEADERS_START = "NATS/1.0\r\n";
const LINE_BREAK = /[\r\n]/;

/**
 * Undefined without headers: a message without them is cheaper. `extra` has no name that `own` has. The client only
 * asks headers to encode themselves, and its own kind costs as much as the rest of a publish.
 * @throws Error when a value has a line break
 */
export function toHeaders(own: Headers | undefined, extra?: Headers): MsgHdrs | undefined {
  const lines = linesOf(own) + linesOf(extra);
  if (lines === "") return undefined;
  const encoded = Buffer.from(`${HEADERS_START}${lines}\r\n`, "utf8");
  return { encode: () => encoded } as unknown as MsgHdrs;
}

function linesOf(headers: Headers | undefined): string {
  let lines = "";
  for (const name in headers) {
    const value = headers[name] ?? "";
    if (LINE_BREAK.test(value)) throw new Error(`the header ${name} has a line break`);
    lines += `${name}: ${value}\r\n`;
  }
  return lines;
}

/** Headers by which the server does what an append asks for. */
export function appendHeaders(message: Append): Record<string, string> {
  const { expectLastSequence, messageId, ttlSeconds, schedule } = message;
  const all: Record<string, string> = {};
  if (expectLastSequence !== undefined)
    all["Nats-Expected-Last-Subject-Sequence"] = String(expectLastSequence);
  if (messageId !== undefined) all["Nats-Msg-Id"] = messageId;
  if (ttlSeconds !== undefined) all["Nats-TTL"] = String(ttlSeconds);
  if (schedule !== undefined) {
    all["Nats-Schedule"] = `@at ${new Date(schedule.atMs).toISOString()}`;
    all["Nats-Schedule-Target"] = schedule.target;
  }
  return all;
}

/** A message as it came. Own headers are picked out when asked for: the journal's readers skip most messages. */
export class ReceivedMessage implements StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  readonly timestampMs: number;
  readonly #msg: Msg;
  #headers: Headers | undefined;

  constructor(msg: Msg, subject: string, sequence: number, timestampMs: number) {
    this.#msg = msg;
    this.subject = subject;
    this.sequence = sequence;
    this.timestampMs = timestampMs;
  }

  get data(): Uint8Array {
    return this.#msg.data;
  }

  get headers(): Headers {
    this.#headers ??= ownHeaders(this.#msg.headers);
    return this.#headers;
  }
}

/** A message that a consumer delivered. */
export function deliveredMessage(msg: Msg, { streamSequence, timestampMs }: DeliveryInfo): StoredMessage {
  return new ReceivedMessage(msg, msg.subject, streamSequence, timestampMs);
}

/** What the reply subject of a delivery tells. */
export interface DeliveryInfo {
  readonly attempt: number;
  readonly streamSequence: number;
  readonly consumerSequence: number;
  readonly timestampMs: number;
  /** Messages that the consumer has not delivered yet. */
  readonly pending: number;
}

const ACK_PREFIX = "$JS.ACK.";
const NANOS_PER_MS = 1_000_000;

/**
 * Undefined if it is no delivery. Two forms exist: `$JS.ACK.stream.consumer.` and, with domain and account,
 * `$JS.ACK.domain.account.stream.consumer.`, each before five numbers, the longer one with a random token at its end.
 */
export function deliveryInfo(reply: string): DeliveryInfo | undefined {
  if (!reply.startsWith(ACK_PREFIX)) return undefined;
  const tokens = reply.split(".");
  const first = tokens.length === 9 ? 4 : 6;
  if (tokens.length < first + 5) return undefined;
  const number = (index: number) => Number(tokens[first + index]);
  return {
    attempt: number(0),
    streamSequence: number(1),
    consumerSequence: number(2),
    timestampMs: Math.floor(number(3) / NANOS_PER_MS),
    pending: number(4),
  };
}

/** A message as a direct get answers it; undefined if it is a status. */
export function directMessage(msg: Msg): StoredMessage | undefined {
  const { headers } = msg;
  const subject = headers?.get("Nats-Subject") ?? "";
  if (headers === undefined || subject === "") return undefined;
  return new ReceivedMessage(
    msg,
    subject,
    Number(headers.get("Nats-Sequence")),
    Date.parse(headers.get("Nats-Time-Stamp")),
  );
}

/** A message as `STREAM.MSG.GET` answers it. */
export interface GetAnswer {
  readonly subject: string;
  readonly seq: number;
  readonly time: string;
  readonly hdrs?: string;
  readonly data?: string;
}

export function getMessage({ subject, seq, time, hdrs, data }: GetAnswer): StoredMessage {
  return {
    subject,
    sequence: seq,
    timestampMs: Date.parse(time),
    headers: hdrs === undefined ? NONE : parseHeaders(hdrs),
    data: data === undefined ? new Uint8Array() : Buffer.from(data, "base64"),
  };
}

function parseHeaders(base64: string): Headers {
  const own: Record<string, string> = {};
  for (const line of Buffer.from(base64, "base64").toString("utf8").split("\r\n").slice(1)) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    if (colon > 0 && !SERVER_HEADER.test(name)) own[name] ??= line.slice(colon + 1).trim();
  }
  return own;
}
