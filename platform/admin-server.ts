import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Health } from "./health.ts";
import { METRICS_CONTENT_TYPE, renderMetrics } from "./metrics.ts";

export interface AdminServerOptions {
  /** Bind address; loopback unless the process runs in a pod. */
  readonly host?: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly health: Health;
  /** Renders the metrics; those of this process by default. */
  readonly metrics?: () => Promise<string>;
  /** Plain facts shown with both probes: role, version. No secrets. */
  readonly info?: Readonly<Record<string, string>>;
}

export interface AdminServer {
  readonly port: number;
  /** Ends open connections and frees the port. */
  close(): Promise<void>;
}

/** A probe that takes longer than this is answered by a closed connection. */
const REQUEST_TIMEOUT_MS = 5_000;
const CONNECTIONS_MAX = 64;

/**
 * `/metrics`, `/livez` and `/readyz` on a port of their own, never the public one. Probes answer 200 or 503 with
 * a JSON body that names every part and why it is not ok.
 */
export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const { host = "127.0.0.1", port } = options;
  const server = createServer((request, response) => {
    answer(options, request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else send(response, 500, "text/plain", `metrics cannot be rendered: ${String(error)}\n`);
    });
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  options: AdminServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { health, metrics = renderMetrics } = options;
  if (request.method !== "GET" && request.method !== "HEAD")
    return send(response, 405, "text/plain", "only GET\n");
  switch ((request.url ?? "/").split("?", 1)[0]) {
    case "/metrics":
      return send(response, 200, METRICS_CONTENT_TYPE, await metrics());
    case "/livez":
      return sendProbe(response, health.isLive(), options);
    case "/readyz":
      return sendProbe(response, health.isReady(), options);
    default:
      return send(response, 404, "text/plain", "try /metrics, /livez or /readyz\n");
  }
}

function sendProbe(response: ServerResponse, ok: boolean, { health, info = {} }: AdminServerOptions): void {
  const body = JSON.stringify({ ok, components: health.components(), ...info });
  send(response, ok ? 200 : 503, "application/json", `${body}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    "content-type": type,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  response.end(body);
}
