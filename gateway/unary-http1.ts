import type { IncomingMessage, ServerResponse } from "node:http";
import { type ContextValues, Code, ConnectError } from "@connectrpc/connect";
import type {
  UniversalHandler,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import type { NodeRequest, NodeResponse } from "./http.ts";

/** Bodies of Connect's unary calls: one message in, one out. */
const UNARY_TYPE = /^application\/(json|proto)\b/;

/** A POST of Connect's unary protocol over HTTP/1.1: what most clients send most of the time. */
export interface UnaryExchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/**
 * Undefined for everything but {@link UnaryExchange}. The library's own way from Node to its handlers is made for
 * streams: for one message it costs half as much again as the call.
 */
export function unaryExchange(
  handler: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
): UnaryExchange | undefined {
  const isUnary =
    handler.method.methodKind === "unary" &&
    request.method === "POST" &&
    !("stream" in request) &&
    request.headers.host !== undefined &&
    UNARY_TYPE.test(request.headers["content-type"] ?? "");
  return isUnary ? { request, response: response as ServerResponse } : undefined;
}

/**
 * The request as handlers take it.
 * @param bytesMax of the body; it is not read much further, and the handler refuses what is longer.
 * @returns with a signal that is aborted when the client goes away before it has its answer
 */
export function unaryRequest(
  { request, response }: UnaryExchange,
  contextValues: ContextValues,
  bytesMax: number,
): UniversalServerRequest {
  const { headers, httpVersion, method = "", url = "" } = request;
  const abort = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) abort.abort(new ConnectError("the caller went away", Code.Canceled));
  });
  return {
    httpVersion,
    method,
    url: `http://${headers.host ?? ""}${url}`,
    header: webHeaders(request),
    body: { [Symbol.asyncIterator]: () => wholeBody(request, bytesMax) },
    signal: abort.signal,
    contextValues,
  };
}

/** Headers as they came, repeated ones joined. */
function webHeaders({ rawHeaders }: IncomingMessage): Headers {
  const header = new Headers();
  for (let at = 0; at + 1 < rawHeaders.length; at += 2)
    header.append(rawHeaders[at] ?? "", rawHeaders[at + 1] ?? "");
  return header;
}

/** The body in one piece, or more of it than is taken. Nothing is read before it is asked for. */
function wholeBody(request: IncomingMessage, bytesMax: number): AsyncIterator<Uint8Array> {
  let isRead = false;
  return {
    next: async () => {
      if (isRead) return { done: true, value: undefined };
      isRead = true;
      return { done: false, value: await readAll(request, bytesMax) };
    },
  };
}

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
    request.once("end", done);
    const fail = () => {
      if (!request.readableEnded) reject(new ConnectError("the caller went away", Code.Canceled));
    };
    request.once("error", fail);
    request.once("close", fail);
  });
}

/** Sends the answer in one write. */
export async function sendUnary(response: ServerResponse, answer: UniversalServerResponse): Promise<void> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer.body ?? []) chunks.push(chunk);
  response.writeHead(answer.status, Object.fromEntries(answer.header ?? []));
  response.end(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
}
