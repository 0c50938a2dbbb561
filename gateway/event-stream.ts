import {
  type DescMessage,
  type DescMethodServerStreaming,
  type Message,
  toJsonString,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { type ConnectError, createContextValues, type Interceptor } from "@connectrpc/connect";
import { codeToHttpStatus, errorToJson } from "@connectrpc/connect/protocol-connect";
import { peerKey } from "./call-scope.ts";
import { toEdgeError } from "./connect-errors.ts";
import type { Gate } from "./gate.ts";
import { type NodeRequest, type NodeResponse, send } from "./http.ts";
import { messageFromQuery } from "./query-message.ts";
import { openStream, type Rpc, type RpcTable, type StopSignals } from "./rpc-table.ts";

/**
 * Paths that serve a Watch rpc as server-sent events: what is in braces is a field of the request, all other fields are
 * URL parameters. The rpc's own path (`GET /tradewind.order.v1.OrderService/WatchOrder?order_id=…`) serves it as well.
 */
export const WATCH_PATHS: Readonly<Record<string, string>> = {
  "tradewind.order.v1.OrderService/WatchOrder": "/v1/orders/{order_id}:watch",
  "tradewind.order.v1.OrderService/WatchOrders": "/v1/orders:watch",
  "tradewind.inventory.v1.InventoryService/WatchStock": "/v1/stock:watch",
  "tradewind.analytics.v1.AnalyticsService/WatchTotalSales": "/v1/analytics/total-sales:watch",
  "tradewind.analytics.v1.AnalyticsService/WatchSalesByProduct": "/v1/analytics/products/{product_id}:watch",
  "tradewind.analytics.v1.AnalyticsService/WatchTopCustomers": "/v1/analytics/top-customers:watch",
  "tradewind.analytics.v1.AnalyticsService/WatchTopProducts": "/v1/analytics/top-products:watch",
  "tradewind.analytics.v1.AnalyticsService/WatchSalesSeries": "/v1/analytics/sales-series:watch",
};

/** A client that lost its stream comes back after this. */
const RETRY_MS = 2_000;

export interface EventStreamOptions {
  readonly table: RpcTable;
  readonly gate: Gate;
  readonly interceptors: readonly Interceptor[];
  readonly stop: StopSignals;
}

type StreamRpc = Rpc & { readonly method: DescMethodServerStreaming };

interface WatchRoute {
  readonly rpc: StreamRpc;
  readonly pattern: RegExp;
  readonly fields: readonly string[];
}

/** Answers `GET` of a Watch path with an endless `text/event-stream`. @returns false if the path is none */
export type EventStreamHandler = (request: NodeRequest, response: NodeResponse) => boolean;

/** @throws Error if a Watch rpc of the API has no row in WATCH_PATHS */
export function createEventStreamHandler(options: EventStreamOptions): EventStreamHandler {
  const routes = options.table.rpcs.flatMap((rpc) => (isStreamRpc(rpc) ? watchRoutes(rpc) : []));
  return (request, response) => {
    if (request.method !== "GET") return false;
    const url = new URL(request.url ?? "/", "http://gateway");
    for (const route of routes) {
      const match = route.pattern.exec(url.pathname);
      if (match === null) continue;
      const fields = route.fields.map((field, index) => [field, decode(match[index + 1] ?? "")] as const);
      void serve(route.rpc, [...url.searchParams, ...fields], request, response, options);
      return true;
    }
    return false;
  };
}

function isStreamRpc(rpc: Rpc): rpc is StreamRpc {
  return rpc.method.methodKind === "server_streaming" && rpc.method.parent.typeName.startsWith("tradewind.");
}

function watchRoutes(rpc: StreamRpc): WatchRoute[] {
  const name = `${rpc.method.parent.typeName}/${rpc.method.name}`;
  const path = WATCH_PATHS[name];
  if (path === undefined) throw new Error(`${name} has no path: add it to WATCH_PATHS`);
  const fields = [...path.matchAll(/\{(\w+)\}/g)].map(([, field = ""]) => field);
  const pattern = new RegExp(`^${path.replace(/\{\w+\}/g, "([^/:]+)")}$`);
  return [
    { rpc, pattern, fields },
    { rpc, pattern: new RegExp(`^/${name.replaceAll(".", "\\.")}$`), fields: [] },
  ];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function serve(
  rpc: StreamRpc,
  parameters: readonly (readonly [string, string])[],
  request: NodeRequest,
  response: NodeResponse,
  options: EventStreamOptions,
): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const header = headersOf(request);
  let hasBegun = false;
  try {
    const input = messageFromQuery(rpc.method.input, withResume(rpc.method.input, parameters, header));
    const values = createContextValues().set(peerKey, { address: request.socket?.remoteAddress ?? "" });
    const call = { url: `http://gateway${request.url ?? "/"}`, header, signal: gone.signal, values };
    for await (const message of await openStream(rpc, input, call, options)) {
      if (!hasBegun) begin(response);
      hasBegun = true;
      await write(response, eventText(rpc.method.output, message), gone.signal);
    }
    // A browser's EventSource reconnects after every end; 204 is the one answer that stops it.
    if (hasBegun) (response as NodeJS.WritableStream).end("event: end\ndata: {}\n\n");
    else send(response, 204, {});
  } catch (thrown) {
    if (gone.signal.aborted) return;
    fail(response, toEdgeError(thrown, ""), hasBegun);
  }
}

function begin(response: NodeResponse): void {
  response.statusCode = 200;
  response.setHeader("content-type", "text/event-stream; charset=utf-8");
  response.setHeader("cache-control", "no-store");
  response.setHeader("x-accel-buffering", "no");
  (response as NodeJS.WritableStream).write(`retry: ${RETRY_MS}\n\n`);
}

function fail(response: NodeResponse, error: ConnectError, hasBegun: boolean): void {
  const body = JSON.stringify(errorToJson(error, undefined));
  if (hasBegun) {
    (response as NodeJS.WritableStream).end(`event: error\ndata: ${body}\n\n`);
    return;
  }
  const headers: Record<string, string> = { "content-type": "application/json" };
  error.metadata.forEach((value, name) => (headers[name] = value));
  send(response, codeToHttpStatus(error.code), headers, `${body}\n`);
}

/** `Last-Event-ID` is the cursor of the last event that a browser saw. */
function withResume(
  schema: DescMessage,
  parameters: readonly (readonly [string, string])[],
  header: Headers,
): readonly (readonly [string, string])[] {
  const last = header.get("last-event-id") ?? "";
  const hasCursor = schema.fields.some((field) => field.name === "cursor");
  if (last === "" || !hasCursor) return parameters;
  return [...parameters.filter(([name]) => name !== "cursor"), ["cursor", last]];
}

function headersOf(request: NodeRequest): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && !name.startsWith(":"))
      headers.set(name, Array.isArray(value) ? value.join(", ") : value);
  }
  return headers;
}

/** The event is named after the case of the response's oneof, and its id is the cursor. */
function eventText(schema: DescMessage, message: Message): string {
  const view = reflect(schema, message);
  const cursorField = schema.fields.find((field) => field.name === "cursor");
  const cursor = cursorField === undefined ? "" : (view.get(cursorField) as string);
  const event = schema.oneofs[0] === undefined ? undefined : view.oneofCase(schema.oneofs[0])?.name;
  const id = cursor === "" ? "" : `id: ${cursor}\n`;
  return `${id}event: ${event ?? "message"}\ndata: ${toJsonString(schema, message, { alwaysEmitImplicit: true })}\n\n`;
}

function write(response: NodeResponse, text: string, gone: AbortSignal): Promise<void> {
  if ((response as NodeJS.WritableStream).write(text)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done);
      gone.removeEventListener("abort", done);
      resolve();
    };
    response.on("drain", done);
    gone.addEventListener("abort", done, { once: true });
  });
}
