import type { IncomingMessage, ServerResponse } from "node:http";
import type { DescMethod } from "@bufbuild/protobuf";
import { codeToHttpStatus, codeToString, errorToJson } from "@connectrpc/connect/protocol-connect";
import type { Authenticator } from "./call-scope.ts";
import { edgeError } from "./connect-errors.ts";
import { type GateOptions, type LoadRefusal, loadRefusal, refusedCounter } from "./gate.ts";
import type { NodeRequest, NodeResponse } from "./http.ts";
import { JSON_OPTIONS } from "./unary-codec.ts";
import { dropsRest, unaryExchange } from "./unary-http1.ts";

export interface TurnAwayOptions extends GateOptions {
  readonly methods: readonly DescMethod[];
}

/** Answers a request with a refusal. @returns false if it is to be served in its turn */
export type TurnAway = (request: NodeRequest, response: NodeResponse) => boolean;

/** The answer to all that are refused for the same reason, but for their ids. */
interface Prepared {
  readonly refusal: LoadRefusal;
  readonly status: number;
  readonly code: string;
  readonly headers: readonly string[];
  readonly body: string;
}

/**
 * Refuses on its headers, in the moment in which they are read, what the gate would refuse for load in its turn: who
 * is told to come back later should neither wait for it nor cost what a call costs. Only unary Connect calls over
 * HTTP/1.1 whose caller is known at once and whose body is short; all others meet the same refusal at the gate.
 */
export function createTurnAway(options: TurnAwayOptions): TurnAway {
  const { authenticator, openServices, random, metrics } = options;
  const methods = new Map(
    options.methods
      .filter(({ parent, methodKind }) => methodKind === "unary" && !openServices.has(parent.typeName))
      .map((method) => [`/${method.parent.typeName}/${method.name}`, method]),
  );
  const refused = refusedCounter(metrics);
  let prepared: Prepared | undefined;
  return (request, response) => {
    const method = methods.get(request.url ?? "");
    const exchange = method && unaryExchange(method, request, response);
    if (method === undefined || exchange === undefined || !mayBeTurnedAway(exchange.request)) return false;
    const tenant = tenantOf(exchange.request, authenticator);
    const refusal = tenant === undefined ? undefined : loadRefusal(method, tenant, options);
    if (refusal === undefined) return false;
    if (prepared?.refusal.reason !== refusal.reason || prepared.refusal.retryAfterMs !== refusal.retryAfterMs)
      prepared = prepare(refusal);
    refused.inc({ code: prepared.code });
    answer(exchange.response, prepared, random.id());
    return true;
  };
}

/** Pages of other origins get headers of their own, and a long body is not waited for. */
function mayBeTurnedAway(request: IncomingMessage): boolean {
  return request.headers.origin === undefined && dropsRest(request);
}

/** Undefined if it takes longer to find out, or if the caller has to be told something else first. */
function tenantOf(request: IncomingMessage, authenticator: Authenticator): string | undefined {
  const get = (name: string) => {
    const value = request.headers[name];
    return typeof value === "string" ? value : (value?.join(", ") ?? null);
  };
  try {
    const identity = authenticator.authenticate({ get }, { address: request.socket.remoteAddress ?? "" });
    if (!(identity instanceof Promise)) return identity.tenant;
    identity.catch(() => undefined); // it is asked again in its turn
  } catch {
    // told in its turn
  }
  return undefined;
}

function prepare(refusal: LoadRefusal): Prepared {
  const error = edgeError("OVERLOADED", refusal.reason, { retryAfterMs: refusal.retryAfterMs });
  const body = JSON.stringify(errorToJson(error, JSON_OPTIONS));
  const headers = ["content-type", "application/json"];
  for (const [name, value] of error.metadata) headers.push(name, value);
  headers.push("content-length", String(Buffer.byteLength(body)));
  return { refusal, status: codeToHttpStatus(error.code), code: codeToString(error.code), headers, body };
}

function answer(response: ServerResponse, { status, headers, body }: Prepared, callId: string): void {
  response.writeHead(status, ["x-request-id", callId, ...headers]);
  response.end(body);
}
