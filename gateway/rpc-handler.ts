import { constants } from "node:http2";
import { ConnectError, type ConnectRouter, createContextValues } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { codeFromString, errorToJson } from "@connectrpc/connect/protocol-connect";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import { type Clock, sleep } from "../platform/clock.ts";
import type { Logger } from "../platform/log.ts";
import { peerKey } from "./call-scope.ts";
import { edgeError, toEdgeError } from "./connect-errors.ts";
import { type NodeRequest, type NodeResponse, send } from "./http.ts";
import type { Rpc, RpcTable } from "./rpc-table.ts";
import { type UnaryHttp1, unaryExchange } from "./unary-http1.ts";

export interface RpcHandlerOptions {
  /** Serves all protocols. */
  readonly router: ConnectRouter;
  /** What the router serves. */
  readonly table: RpcTable;
  /** Serves most calls of one of them. */
  readonly unaryHttp1: UnaryHttp1;
  readonly log: Logger;
  readonly clock: Clock;
  readonly requestBytesMax: number;
}

/** Answers a request if its path is that of an rpc. @returns false if it is not */
export type RpcHandler = (request: NodeRequest, response: NodeResponse) => boolean;

/** A refused body is read and thrown away for this long, so that the client gets to read the refusal. */
const LINGER_MS = 500;
/** Turns of the event loop that the end of a response may take to reach the socket. */
const FLUSH_TURNS_MAX = 1_000;
/** Length prefix of an enveloped message, which the limit on messages does not count. */
const ENVELOPE_BYTES = 5;

/** Serves Connect, gRPC and gRPC-web from one router over Node's HTTP servers. */
export function createRpcHandler(options: RpcHandlerOptions): RpcHandler {
  const handlers = new Map(options.router.handlers.map((handler) => [handler.method, handler]));
  const paths = new Map<string, Target>();
  for (const rpc of options.table.rpcs) {
    const handler = handlers.get(rpc.method);
    if (handler !== undefined) paths.set(handler.requestPath, { rpc, handler });
  }
  return (request, response) => {
    const target = paths.get(pathOf(request));
    if (target === undefined) return false;
    if (isTooLarge(request, options.requestBytesMax)) void refuseBody(request, response, options);
    else void serve(target, request, response, options);
    return true;
  };
}

interface Target {
  readonly rpc: Rpc;
  readonly handler: UniversalHandler;
}

/** Path of a request without its query. */
export function pathOf(request: NodeRequest): string {
  return (request.url ?? "/").split("?", 1)[0] ?? "/";
}

async function serve(
  { rpc, handler }: Target,
  request: NodeRequest,
  response: NodeResponse,
  { log, unaryHttp1 }: RpcHandlerOptions,
): Promise<void> {
  try {
    const values = createContextValues().set(peerKey, { address: request.socket?.remoteAddress ?? "" });
    const unary = unaryExchange(rpc.method, request, response);
    if (unary !== undefined) return await unaryHttp1(unary, rpc, values);
    const universal = universalRequestFromNodeRequest(request, response, undefined, values);
    const answer = explain(handler, request, await handler(universal));
    if (!request.complete) cutUnreadBody(request, response);
    await universalResponseToNodeResponse(answer, response);
  } catch (err) {
    // Clients that go away are no news.
    log.debug({ rpc: handler.requestPath, err }, "response not sent");
    if (!response.writableEnded) response.destroy();
  }
}

/** An unread body would be taken for the next request of a connection, and would keep an HTTP/2 stream open. */
function cutUnreadBody(request: NodeRequest, response: NodeResponse): void {
  if (!("stream" in request)) {
    response.setHeader("connection", "close");
    return;
  }
  const { stream } = request;
  const cut = (turnsLeft: number) => {
    if (stream.destroyed || request.complete || turnsLeft === 0) return;
    if (stream.state.localClose === 1) stream.close(constants.NGHTTP2_NO_ERROR);
    else setImmediate(cut, turnsLeft - 1);
  };
  // The response itself reports its finish only when the stream is closed, which is what does not happen.
  stream.once("finish", () => cut(FLUSH_TURNS_MAX));
}

/** Gives what the library answers by itself, before any interceptor runs, the shape of the error table. */
function explain(
  handler: UniversalHandler,
  request: NodeRequest,
  answer: UniversalServerResponse,
): UniversalServerResponse {
  if (answer.status < 400) return answer;
  if (answer.body === undefined) return { ...answer, ...plainAnswer(handler, request, answer.status) };
  if (answer.header?.get("content-type") !== "application/json" || answer.header.has("content-encoding"))
    return answer;
  const header = new Headers(answer.header);
  header.delete("content-length");
  return { ...answer, header, body: withErrorInfo(answer.body) };
}

function plainAnswer(handler: UniversalHandler, request: NodeRequest, status: number) {
  const hint =
    status === 415
      ? `content-type ${request.headers["content-type"] ?? "(none)"} is not served; send application/json`
      : `${request.method ?? ""} is not served here; use ${handler.allowedMethods.join(" or ")}`;
  const body = new TextEncoder().encode(`${JSON.stringify({ code: "unimplemented", message: hint })}\n`);
  return { header: new Headers({ "content-type": "application/json" }), body: iterate(body) };
}

async function* withErrorInfo(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const error = JSON.parse(bytes.toString("utf8")) as { code?: string; message?: string; details?: unknown };
  const code = codeFromString(error.code ?? "");
  if (error.details !== undefined || code === undefined) return yield bytes;
  const full = toEdgeError(new ConnectError(error.message ?? "", code), "");
  yield new TextEncoder().encode(JSON.stringify(errorToJson(full, undefined)));
}

async function* iterate(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function isTooLarge(request: NodeRequest, requestBytesMax: number): boolean {
  return (
    request.httpVersionMajor === 1 &&
    Number(request.headers["content-length"] ?? 0) > requestBytesMax + ENVELOPE_BYTES
  );
}

/** The body is never looked at. Over HTTP/1.1 an unread body would break the next call of the connection. */
async function refuseBody(
  request: NodeRequest,
  response: NodeResponse,
  options: RpcHandlerOptions,
): Promise<void> {
  const limit = String(options.requestBytesMax);
  const text = `the request is larger than ${limit} bytes`;
  const error = edgeError("REQUEST_TOO_LARGE", text, { metadata: { limit_bytes: limit } });
  response.setHeader("connection", "close");
  request.resume();
  const ended = new AbortController();
  for (const event of ["end", "close"]) request.once(event, () => ended.abort());
  await sleep(options.clock, LINGER_MS, ended.signal);
  const type = request.headers["content-type"] ?? "";
  if (type.startsWith("application/grpc-web")) {
    send(response, 200, { "content-type": type, "grpc-status": String(error.code), "grpc-message": text });
  } else {
    send(
      response,
      413,
      { "content-type": "application/json" },
      `${JSON.stringify(errorToJson(error, undefined))}\n`,
    );
  }
}
