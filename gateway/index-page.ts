import { type NodeRequest, type NodeResponse, send } from "./http.ts";
import { WATCH_PATHS } from "./event-stream.ts";
import { pathOf } from "./rpc-handler.ts";
import type { RpcTable } from "./rpc-table.ts";

/** Answers `GET /` with what is served here, for people. @returns false at any other path */
export function serveIndex(table: RpcTable, request: NodeRequest, response: NodeResponse): boolean {
  if (pathOf(request) !== "/" || (request.method !== "GET" && request.method !== "HEAD")) return false;
  send(response, 200, { "content-type": "text/plain; charset=utf-8" }, indexText(table));
  return true;
}

function indexText({ rpcs }: RpcTable): string {
  const calls = rpcs.filter(({ method }) => method.methodKind === "unary");
  const lines = [
    "Tradewind",
    "",
    "Connect, gRPC and gRPC-web on this port, with reflection. JSON by curl:",
    "  curl -H 'content-type: application/json' -d '{}' <url>/<service>/<method>",
    "",
    ...calls.map(({ method }) => `  POST /${method.parent.typeName}/${method.name}`),
    "",
    "Server-sent events: curl -N <url>/<path>, fields in braces and as parameters.",
    "",
    ...Object.values(WATCH_PATHS).map((path) => `  GET  ${path}`),
  ];
  return `${lines.join("\n")}\n`;
}
