import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { cors } from "@connectrpc/connect";

/** A request and its response in either version of HTTP. */
export type NodeRequest = IncomingMessage | Http2ServerRequest;
export type NodeResponse = ServerResponse | Http2ServerResponse;

/** Ends a response with a status, headers and a body. */
export function send(
  response: NodeResponse,
  status: number,
  headers: Record<string, string>,
  body = "",
): void {
  response.statusCode = status;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (body !== "") response.setHeader("content-length", Buffer.byteLength(body));
  (response as ServerResponse).end(body);
}

const PREFLIGHT_SECONDS = "7200";
const ALLOWED_METHODS = [...new Set([...cors.allowedMethods, "GET", "POST", "OPTIONS"])].join(", ");
const ALLOWED_HEADERS = [
  ...cors.allowedHeaders,
  "authorization",
  "idempotency-key",
  "last-event-id",
  "traceparent",
  "tracestate",
].join(", ");
/** Without grpc-status here, gRPC-web errors look like network failures to a browser. */
const EXPOSED_HEADERS = [
  ...cors.exposedHeaders,
  "idempotent-replayed",
  "retry-after",
  "x-request-id",
  "etag",
].join(", ");

/** Whether pages of an origin may call. `*` means any; `local` any page served from this machine. */
export type OriginRule = (origin: string) => boolean;

/** Reads a list such as `local, https://shop.example`. */
export function originRule(list: string): OriginRule {
  const entries = list.split(",").map((entry) => entry.trim());
  return (origin) =>
    entries.some((entry) => entry === "*" || (entry === "local" ? isLocal(origin) : entry === origin));
}

function isLocal(origin: string): boolean {
  if (!URL.canParse(origin)) return false;
  const { hostname } = new URL(origin);
  return (
    hostname === "localhost" ||
    hostname.endsWith(".localhost") ||
    hostname === "127.0.0.1" ||
    hostname === "[::1]"
  );
}

/** Sets the CORS headers. @returns true if this was a preflight, which is answered by now. */
export function applyCors(request: NodeRequest, response: NodeResponse, isAllowed: OriginRule): boolean {
  const { origin } = request.headers;
  if (origin === undefined) return false;
  response.setHeader("vary", "origin");
  const isPreflight =
    request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined;
  if (isAllowed(origin)) {
    response.setHeader("access-control-allow-origin", origin);
    response.setHeader("access-control-expose-headers", EXPOSED_HEADERS);
    if (isPreflight) {
      response.setHeader("access-control-allow-methods", ALLOWED_METHODS);
      response.setHeader("access-control-allow-headers", ALLOWED_HEADERS);
      response.setHeader("access-control-max-age", PREFLIGHT_SECONDS);
    }
  }
  if (!isPreflight) return false;
  send(response, 204, {});
  return true;
}
