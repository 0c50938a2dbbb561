import { createConnectRouter } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { toldMs } from "../actors/runtime/index.ts";
import { type Clock, sleep } from "../platform/clock.ts";
import type { Health as ProcessHealth } from "../platform/health.ts";
import type { Logger } from "../platform/log.ts";
import type { Metrics } from "../platform/metrics.ts";
import type { Random } from "../platform/random.ts";
import { Health } from "../proto/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../proto/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionV1Alpha } from "../proto/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import type { Authenticator } from "./call-scope.ts";
import { edgeError } from "./connect-errors.ts";
import { type EdgeServer, startEdgeServer } from "./edge-server.ts";
import { createEventStreamHandler } from "./event-stream.ts";
import { type AdmissionHook, createGate } from "./gate.ts";
import { grpcHealth } from "./grpc-health.ts";
import { grpcReflection } from "./grpc-reflection.ts";
import { applyCors, type NodeRequest, type NodeResponse, type OriginRule, send } from "./http.ts";
import { serveIndex } from "./index-page.ts";
import { createErrorsInterceptor } from "./interceptors/errors.ts";
import { createObserveInterceptor, type Load } from "./interceptors/observe.ts";
import { createValidateInterceptor } from "./interceptors/validate.ts";
import { GATEWAY_LIMITS, type GatewayLimits } from "./limits.ts";
import { createRpcHandler, pathOf } from "./rpc-handler.ts";
import { RunQueue } from "./run-queue.ts";
import { createRpcTable, routeAll, type RpcTable } from "./rpc-table.ts";
import { createTurnAway } from "./turn-away.ts";
import { JSON_OPTIONS } from "./unary-codec.ts";
import { createUnaryHttp1 } from "./unary-http1.ts";

export interface GatewayServerOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Registers every service that is served besides health and reflection. */
  readonly register: (table: RpcTable) => void;
  readonly authenticator: Authenticator;
  readonly admission: readonly AdmissionHook[];
  readonly originRule: OriginRule;
  readonly health: ProcessHealth;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits?: Partial<GatewayLimits>;
  /** Serves other paths, such as the dashboard. @returns false if there is nothing at this path */
  readonly pages?: (request: NodeRequest, response: NodeResponse) => boolean;
}

/** A gateway that listens. */
export interface GatewayServer {
  readonly port: number;
  readonly url: string;
  /**
   * Not ready → time to look away → no new connections → streams end with `unavailable` → calls may finish until the
   * deadline → the rest is cut. Resolves when nothing is open. Later calls get the same promise.
   */
  drain(): Promise<void>;
}

/** When a caller may try again who was turned away at a gateway with more than it can do. */
const BUSY_RETRY_AFTER_MS = 250;

/** Serves Connect, gRPC, gRPC-web and server-sent events on one cleartext port. */
export async function startGatewayServer(options: GatewayServerOptions): Promise<GatewayServer> {
  const { health, log, metrics, clock, originRule, pages } = options;
  const limits = { ...GATEWAY_LIMITS, ...options.limits };
  const table = fillTable(options);
  const drainAbort = new AbortController();
  const hardAbort = new AbortController();
  const stop = { streams: drainAbort.signal, unary: hardAbort.signal };
  const load: Load = { callsInFlight: 0, streamsOpen: 0 };
  const openServices = new Set([
    Health.typeName,
    ServerReflection.typeName,
    ServerReflectionV1Alpha.typeName,
  ]);
  const queue = new RunQueue(clock, limits.callWaitMsMax);
  const admission = [waitBound(queue), ...options.admission];
  const gateOptions = { ...options, admission, limits, load, openServices };
  const gate = createGate(gateOptions);
  const methods = table.rpcs.map(({ method }) => method);
  const turnAway = createTurnAway({ ...gateOptions, methods });
  const interceptors = [
    createObserveInterceptor(clock, metrics, load),
    createErrorsInterceptor({ log, clock, deadlineMsMax: limits.deadlineMsMax }),
    createValidateInterceptor(methods),
  ];
  const acceptCompression = [compressionGzip, compressionBrotli];
  const router = createConnectRouter({
    acceptCompression,
    readMaxBytes: limits.requestBytesMax,
    writeMaxBytes: limits.responseBytesMax,
    jsonOptions: JSON_OPTIONS,
    requestGate: gate,
    interceptors,
  });
  routeAll(router, table, stop);
  const unaryHttp1 = createUnaryHttp1({
    ...limits,
    gate,
    interceptors,
    stop: stop.unary,
    acceptCompression,
    clock,
  });
  const { requestBytesMax } = limits;
  const serveRpc = createRpcHandler({ router, table, unaryHttp1, log, clock, requestBytesMax });
  const serveEvents = createEventStreamHandler({ table, gate, interceptors, stop });
  const handle = (request: NodeRequest, response: NodeResponse) => {
    if (applyCors(request, response, originRule)) return;
    if (serveEvents(request, response) || serveRpc(request, response)) return;
    if (pages?.(request, response) === true || serveIndex(table, request, response)) return;
    notServed(request, response);
  };
  const begin = (request: NodeRequest, response: NodeResponse) => {
    if (turnAway(request, response)) return;
    queue.run(
      () => handle(request, response),
      // What is refused by now should not wait until all before it have had their turn.
      () => response.destroyed || turnAway(request, response),
    );
  };
  const edge = await startEdgeServer({ ...options, handle: begin, limits });
  const drain = drainOnce(async () => {
    health.stopping();
    await sleep(clock, limits.drainDelayMs);
    edge.stopAccepting();
    const reason = edgeError("DRAINING", "this server is shutting down; call again with the last cursor");
    drainAbort.abort(reason);
    await finish(edge, limits, clock, () => hardAbort.abort(reason));
  });
  return { port: edge.port, url: `http://${hostInUrl(options.host)}:${edge.port}`, drain };
}

/** Refuses writes while those that came before wait for too long. */
function waitBound(queue: RunQueue): AdmissionHook {
  return {
    admit: ({ isWrite }) => {
      const ageMs = isWrite ? queue.behindMs : 0;
      if (ageMs === 0) return undefined;
      const reason = `calls wait for ${toldMs(ageMs)} ms at this gateway`;
      return { reason, retryAfterMs: BUSY_RETRY_AFTER_MS };
    },
  };
}

function fillTable(options: GatewayServerOptions): RpcTable {
  const table = createRpcTable();
  options.register(table);
  const own = [...table.services];
  const reflection = grpcReflection([...own, Health]);
  table.add(Health, grpcHealth(options.health, new Set(own.map((service) => service.typeName))));
  table.add(ServerReflection, reflection.v1);
  table.add(ServerReflectionV1Alpha, reflection.v1alpha);
  return table;
}

/** Calls get their deadline to finish; the last tenth is for telling those that did not. */
async function finish(
  edge: EdgeServer,
  limits: GatewayLimits,
  clock: Clock,
  abortCalls: () => void,
): Promise<void> {
  const timer = clock.setTimer(abortCalls, limits.drainDeadlineMs * 0.9);
  await edge.close(limits.drainDeadlineMs);
  timer.cancel();
}

function drainOnce(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => (running ??= work());
}

function notServed(request: NodeRequest, response: NodeResponse): void {
  const message = `there is nothing at ${request.method ?? ""} ${pathOf(request)}`;
  send(
    response,
    404,
    { "content-type": "application/json" },
    `${JSON.stringify({ code: "unimplemented", message })}\n`,
  );
}

function hostInUrl(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "localhost";
  return host.includes(":") ? `[${host}]` : host;
}
