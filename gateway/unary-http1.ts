import type { IncomingMessage, ServerResponse } from "node:http";
import type { DescMethod, DescMethodUnary, Message } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  type HandlerContext,
  type Interceptor,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import {
  type Compression,
  compressionNegotiate,
  mergeNonProtocolHeaders,
} from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  contentTypeUnaryJson,
  contentTypeUnaryProto,
  contentTypeUnaryRegExp,
  errorToJsonBytes,
  headerContentType,
  headerTimeout,
  headerUnaryAcceptEncoding,
  headerUnaryContentLength,
  headerUnaryEncoding,
  parseTimeout,
} from "@connectrpc/connect/protocol-connect";
import type { Clock } from "../platform/clock.ts";
import { type CallContext, createCallContext } from "./call-context.ts";
import { toEdgeError } from "./connect-errors.ts";
import type { Gate } from "./gate.ts";
import type { NodeRequest, NodeResponse } from "./http.ts";
import type { Rpc } from "./rpc-table.ts";
import { createUnaryCodec, JSON_OPTIONS, type UnaryCodec } from "./unary-codec.ts";

export interface UnaryHttp1Options {
  readonly gate: Gate;
  readonly interceptors: readonly Interceptor[];
  /** Ends the calls that are under way. */
  readonly stop: AbortSignal;
  readonly acceptCompression: Compression[];
  readonly clock: Clock;
  readonly requestBytesMax: number;
  readonly responseBytesMax: number;
}

/** A POST of Connect's unary protocol over HTTP/1.1: what most clients send most of the time. */
export interface UnaryExchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** Answers a call. Rejects when the answer cannot be sent. */
export type UnaryHttp1 = (exchange: UnaryExchange, rpc: Rpc, values: ContextValues) => Promise<void>;

/** What is left of a body is read and dropped after the answer up to this; above it the connection is closed. */
const DROPPED_BYTES_MAX = 65_536;
/** Smaller answers are sent as they are, also to who would take them compressed; the library's own limit. */
const COMPRESSED_BYTES_MIN = 1_024;

/** Undefined for everything but {@link UnaryExchange}. */
export function unaryExchange(
  method: DescMethod,
  request: NodeRequest,
  response: NodeResponse,
): UnaryExchange | undefined {
  const isUnary =
    method.methodKind === "unary" &&
    request.method === "POST" &&
    !("stream" in request) &&
    request.headers.host !== undefined &&
    contentTypeUnaryRegExp.test(request.headers["content-type"] ?? "");
  return isUnary ? { request, response: response as ServerResponse } : undefined;
}

/**
 * Carries out Connect's unary protocol as the library does, with its parts, but without its way through streams,
 * negotiation and linked signals, which costs more than the call.
 */
export function createUnaryHttp1(options: UnaryHttp1Options): UnaryHttp1 {
  const served = new WeakMap<Rpc, Served>();
  const underWay = new Set<CallContext>();
  const { stop } = options;
  stop.addEventListener("abort", () => {
    for (const context of underWay) context.abort(stop.reason);
  });
  return async (exchange, rpc, values) => {
    let parts = served.get(rpc);
    if (parts === undefined) {
      parts = {
        codec: createUnaryCodec(rpc.method, options),
        answer: answerWithin(rpc, options.interceptors),
      };
      served.set(rpc, parts);
    }
    const call = startCall(exchange, rpc, values, options);
    underWay.add(call.context);
    if (stop.aborted) call.context.abort(stop.reason);
    const answer = await carryOut(call, parts, options);
    underWay.delete(call.context);
    send(exchange, call.context, answer);
  };
}

/** What is made once for all calls of an rpc. */
interface Served {
  readonly codec: UnaryCodec;
  readonly answer: (context: HandlerContext, message: Message) => Promise<Message>;
}

/** A call with what its headers say. */
interface UnaryCall {
  readonly exchange: UnaryExchange;
  readonly rpc: Rpc;
  readonly context: CallContext;
  readonly isBinary: boolean;
  readonly timeoutError: ConnectError | undefined;
  readonly compression: ReturnType<typeof compressionNegotiate>;
}

interface Answer {
  readonly status: number;
  readonly body: string | Uint8Array;
}

function startCall(
  exchange: UnaryExchange,
  rpc: Rpc,
  values: ContextValues,
  { acceptCompression, clock }: UnaryHttp1Options,
): UnaryCall {
  const { request, response } = exchange;
  const requestHeader = webHeaders(request);
  const isBinary = /^application\/proto$/i.test(request.headers["content-type"] ?? "");
  const timeout = parseTimeout(requestHeader.get(headerTimeout), Number.MAX_SAFE_INTEGER);
  const context = createCallContext({
    method: rpc.method,
    protocolName: "connect",
    url: `http://${request.headers.host ?? ""}${request.url ?? ""}`,
    requestHeader,
    timeoutMs: timeout.timeoutMs,
    values,
    clock,
  });
  context.responseHeader.set(headerContentType, isBinary ? contentTypeUnaryProto : contentTypeUnaryJson);
  response.on("close", () => {
    if (!response.writableFinished) context.abort(goneError());
  });
  return {
    exchange,
    rpc,
    context,
    isBinary,
    timeoutError: timeout.error,
    compression: compressionNegotiate(
      acceptCompression,
      requestHeader.get(headerUnaryEncoding),
      requestHeader.get(headerUnaryAcceptEncoding),
      headerUnaryAcceptEncoding,
    ),
  };
}

async function carryOut(call: UnaryCall, served: Served, options: UnaryHttp1Options): Promise<Answer> {
  const { context, compression, isBinary } = call;
  const { responseHeader } = context;
  let answer: Answer;
  try {
    // What the gate refuses is not read.
    await options.gate(context);
    if (compression.error !== undefined) throw compression.error;
    if (call.timeoutError !== undefined) throw call.timeoutError;
    const { request } = call.exchange;
    let bytes = readWhole(request) ?? (await readAll(request, options.requestBytesMax));
    if (compression.request !== null)
      bytes = await compression.request.decompress(bytes, options.requestBytesMax);
    const output = await served.answer(context, served.codec.parse(bytes, isBinary));
    answer = { status: 200, body: served.codec.serialize(output, isBinary) };
  } catch (thrown) {
    context.abort(thrown);
    const error =
      thrown instanceof ConnectError
        ? thrown
        : new ConnectError("internal error", Code.Internal, undefined, undefined, thrown);
    // What the library says by itself has no reason with it.
    const edge = error.details.length > 0 ? error : toEdgeError(error, "");
    responseHeader.set(headerContentType, contentTypeUnaryJson);
    for (const { metadata } of edge === error ? [edge] : [error, edge])
      mergeNonProtocolHeaders(responseHeader, metadata);
    answer = { status: codeToHttpStatus(edge.code), body: errorToJsonBytes(edge, JSON_OPTIONS) };
  }
  context.close();
  if (compression.response === null || Buffer.byteLength(answer.body) < COMPRESSED_BYTES_MIN) return answer;
  responseHeader.set(headerUnaryEncoding, compression.response.name);
  return { ...answer, body: await compression.response.compress(Buffer.from(answer.body)) };
}

/** A call as interceptors see it. */
class CallRequest implements UnaryRequest {
  readonly stream = false;
  readonly context: HandlerContext;
  readonly message: Message;

  constructor(context: HandlerContext, message: Message) {
    this.context = context;
    this.message = message;
  }

  get service() {
    return this.context.service;
  }

  get method() {
    return this.context.method as DescMethodUnary;
  }

  get requestMethod() {
    return this.context.requestMethod;
  }

  get url() {
    return this.context.url;
  }

  get signal() {
    return this.context.signal;
  }

  get header() {
    return this.context.requestHeader;
  }

  get contextValues() {
    return this.context.values;
  }
}

/** The handler of an rpc within the interceptors; what it gives of its answer is not a whole message yet. */
function answerWithin({ method, run }: Rpc, interceptors: readonly Interceptor[]): Served["answer"] {
  const implementation = run as (message: Message, context: HandlerContext) => Promise<Message> | Message;
  type Unary = (request: UnaryRequest) => Promise<UnaryResponse>;
  const last: Unary = async (request) => {
    const { context } = request as CallRequest;
    return {
      stream: false,
      service: method.parent,
      method: method as DescMethodUnary,
      header: context.responseHeader,
      trailer: context.responseTrailer,
      message: await implementation(request.message, context),
    };
  };
  const chain = interceptors.reduceRight((next, interceptor) => interceptor(next as never) as Unary, last);
  return async (context, message) => (await chain(new CallRequest(context, message))).message;
}

/** Sends the answer in one write. */
function send({ request, response }: UnaryExchange, context: CallContext, { status, body }: Answer): void {
  if (!request.complete) leaveBody(request, response);
  const headers: string[] = [];
  for (const [name, value] of context.responseHeader) headers.push(name, value);
  for (const [name, value] of context.responseTrailer) headers.push(`trailer-${name}`, value);
  const bytes = Buffer.byteLength(body);
  headers.push(headerUnaryContentLength, String(bytes));
  response.writeHead(status, headers);
  // Plain ASCII goes out as it is: no other text has as many bytes as characters.
  response.end(body, typeof body === "string" && bytes === body.length ? "latin1" : "utf8");
}

/** True if a call may be answered before its body has come, and the next one still find its connection. */
export function dropsRest({ headers }: IncomingMessage): boolean {
  return Number(headers["content-length"] ?? Infinity) <= DROPPED_BYTES_MAX;
}

/** What is left of a body must not be taken for the next request of the connection. */
function leaveBody(request: IncomingMessage, response: ServerResponse): void {
  if (dropsRest(request)) request.resume();
  else response.setHeader("connection", "close");
}

/** Headers as they came, repeated ones joined. */
function webHeaders({ rawHeaders }: IncomingMessage): Headers {
  const header = new Headers();
  for (let at = 0; at + 1 < rawHeaders.length; at += 2)
    header.append(rawHeaders[at] ?? "", rawHeaders[at + 1] ?? "");
  return header;
}

/** The body, if all of it has come: most have by the time of the call's turn. */
function readWhole(request: IncomingMessage): Uint8Array | undefined {
  const length = Number(request.headers["content-length"]);
  if (!(length > 0) || request.readableLength !== length) return undefined;
  const body = request.read() as Buffer;
  request.resume(); // its end is still to come
  return body;
}

/** The body in one piece, or more of it than is taken: it is not read much further than `bytesMax`. */
function readAll(request: IncomingMessage, bytesMax: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const done = () =>
      resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks));
    request.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes <= bytesMax) return;
      request.pause();
      done();
    });
    request.on("end", done);
    const fail = () => {
      if (!request.readableEnded) reject(goneError());
    };
    request.on("error", fail);
    request.on("close", fail);
  });
}

function goneError(): ConnectError {
  return new ConnectError("the caller went away", Code.Canceled);
}
