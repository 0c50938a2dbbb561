import type { Msg, MsgHdrs } from "@nats-io/nats-core";
import type { Append, Headers, StoredMessage } from "./bus.ts";
import { asBuffer } from "../codec/as-buffer.ts";

const NONE: Headers = Object.freeze({});

/** Where the client keeps a message as it came: its headers take the first `hdr` bytes. */
interface RawMsg {
  readonly _msg?: { readonly hdr: number };
  readonly _rdata?: Uint8Array;
}

/** The headers that the sender set. They are read here: the client's own way costs as much as the message. */
export function ownHeaders(msg: Msg, parse: HeaderParser = parseHeaders): Headers {
  const { _msg: raw, _rdata: data } = msg as unknown as RawMsg;
  if (raw === undefined || data === undefined || raw.hdr <= 0) return NONE;
  return parse(asBuffer(data).toString("utf8", 0, raw.hdr));
}

const LINE_BREAK = /[\r\n]/;

/**
 * Undefined without headers: a message without them is cheaper. The client only asks headers to encode themselves, and
 * its own kind costs as much as the rest of a publish.
 * @param extra lines of other names, each with its end
 * @throws Error when a value has a line break
 */
export function toHeaders(own: Headers | undefined, extra = ""): MsgHdrs | undefined {
  if (own === undefined && extra === "") return undefined;
  const block = headerBlock(own, extra);
  if (block === NO_LINES) return undefined;
  const encoded = Buffer.from(block, "utf8");
  return { encode: () => encoded } as unknown as MsgHdrs;
}

/** Headers as they are sent, and stored. @throws Error when a value has a line break */
export function headerBlock(own: Headers | undefined, extra: string): string {
  return `NATS/1.0\r\n${linesOf(own)}${extra}\r\n`;
}

const NO_LINES = headerBlock(undefined, "");

function linesOf(headers: Headers | undefined): string {
  let lines = "";
  for (const name in headers) {
    const value = headers[name] ?? "";
    if (LINE_BREAK.test(value)) throw new Error(`the header ${name} has a line break`);
    lines += `${name}: ${value}\r\n`;
  }
  return lines;
}

/** Header lines by which the server does what an append asks for. */
export function appendLines({ expectLastSequence, messageId, ttlSeconds, schedule }: Append): string {
  let lines = "";
  if (expectLastSequence !== undefined)
    lines += `Nats-Expected-Last-Subject-Sequence: ${expectLastSequence}\r\n`;
  if (messageId !== undefined) lines += `Nats-Msg-Id: ${messageId}\r\n`;
  if (ttlSeconds !== undefined) lines += `Nats-TTL: ${ttlSeconds}\r\n`;
  if (schedule !== undefined) {
    lines += `Nats-Schedule: @at ${new Date(schedule.atMs).toISOString()}\r\n`;
    lines += `Nats-Schedule-Target: ${schedule.target}\r\n`;
  }
  return lines;
}

/** A message as it came. Own headers are picked out when asked for: the journal's readers skip most messages. */
export class ReceivedMessage implements StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  readonly timestampMs: number;
  readonly #msg: Msg;
  readonly #parse: HeaderParser | undefined;
  #headers: Headers | undefined;

  constructor(msg: Msg, subject: string, sequence: number, timestampMs: number, parse?: HeaderParser) {
    this.#msg = msg;
    this.#parse = parse;
    this.subject = subject;
    this.sequence = sequence;
    this.timestampMs = timestampMs;
  }

  get data(): Uint8Array {
    return this.#msg.data;
  }

  get headers(): Headers {
    this.#headers ??= ownHeaders(this.#msg, this.#parse);
    return this.#headers;
  }
}

/** A message that a consumer delivered. */
export function deliveredMessage(
  msg: Msg,
  { streamSequence, timestampMs }: DeliveryInfo,
  parse?: HeaderParser,
): StoredMessage {
  return new ReceivedMessage(msg, msg.subject, streamSequence, timestampMs, parse);
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
const DOT = 46;
const ZERO = 48;
/** Digits of a number of nanoseconds that are less than a millisecond. */
const SUB_MS_DIGITS = 6;

/**
 * Undefined if it is no delivery. Two forms exist: `$JS.ACK.stream.consumer.` and, with domain and account,
 * `$JS.ACK.domain.account.stream.consumer.`, each before five numbers, the longer one with a random token at its end.
 */
export function deliveryInfo(reply: string): DeliveryInfo | undefined {
  if (!reply.startsWith(ACK_PREFIX)) return undefined;
  let dots = 0;
  for (let at = 0; at < reply.length; at++) if (reply.charCodeAt(at) === DOT) dots++;
  const namesEnd = dots === 8 ? 4 : 6;
  if (dots < namesEnd + 4) return undefined;
  let attemptAt = 0;
  for (let token = 0; token < namesEnd; token++) attemptAt = reply.indexOf(".", attemptAt) + 1;
  const streamAt = reply.indexOf(".", attemptAt) + 1;
  const consumerAt = reply.indexOf(".", streamAt) + 1;
  const timeAt = reply.indexOf(".", consumerAt) + 1;
  const pendingAt = reply.indexOf(".", timeAt) + 1;
  return {
    attempt: digits(reply, attemptAt, reply.length),
    streamSequence: digits(reply, streamAt, reply.length),
    consumerSequence: digits(reply, consumerAt, reply.length),
    timestampMs: digits(reply, timeAt, pendingAt - 1 - SUB_MS_DIGITS),
    pending: digits(reply, pendingAt, reply.length),
  };
}

/** The number that begins there and ends with its token, or before `end`. */
function digits(text: string, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < end; at++) {
    const code = text.charCodeAt(at);
    if (code === DOT) break;
    value = value * 10 + (code - ZERO);
  }
  return value;
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
    headers: hdrs === undefined ? NONE : parseHeaders(Buffer.from(hdrs, "base64").toString("utf8")),
    data: data === undefined ? new Uint8Array() : Buffer.from(data, "base64"),
  };
}

/** Reads a block of headers as {@link headerBlock} makes it, and the server stores it. */
export type HeaderParser = (text: string) => Headers;

/** For messages most of which have these headers: a third of the time of the general way. See ReadOptions. */
export function headerParser(names: readonly string[]): HeaderParser {
  const lines = names.map((name) => `${name}: (.*)\r\n`);
  const last = lines.pop() ?? "";
  // What a batch needs stands behind the sender's own.
  const block = new RegExp(`^NATS/1\\.0\r\n${lines.join("")}(?:${last})?(?:Nats-Batch-.*\r\n)*\r\n`);
  return (text) => {
    const values = block.exec(text);
    if (values === null) return parseHeaders(text);
    const headers: Record<string, string> = {};
    for (let at = 0; at < names.length; at++) {
      const value = values[at + 1];
      if (value !== undefined) headers[names[at] ?? ""] = value;
    }
    return headers;
  };
}

/** Lines `name: value` after the first, which names the version. Of a name that comes twice the first counts. */
function parseHeaders(text: string): Headers {
  const own: Record<string, string> = {};
  for (let start = text.indexOf("\r\n") + 2; start > 1 && start < text.length;) {
    const end = text.indexOf("\r\n", start);
    const stop = end < 0 ? text.length : end;
    const colon = text.indexOf(":", start);
    if (colon > start && colon < stop) {
      const name = text.slice(start, colon);
      if (!isServerHeader(name)) own[name] ??= text.slice(colon + 1, stop).trim();
    }
    start = stop + 2;
  }
  return own;
}

/** Set by the server or meant for it; what a caller stored are the others. */
function isServerHeader(name: string): boolean {
  return name.startsWith("Nats-") && name !== "Nats-Scheduler" && name !== "Nats-Marker-Reason";
}
