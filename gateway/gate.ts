import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { CounterMetric, Metrics } from "../platform/metrics.ts";
import type { Random } from "../platform/random.ts";
import { type Authenticator, peerKey, scopeKey } from "./call-scope.ts";
import { edgeError, toEdgeError } from "./connect-errors.ts";
import { checkDeadline } from "./interceptors/deadline.ts";
import type { Load } from "./interceptors/observe.ts";
import type { GatewayLimits } from "./limits.ts";

/** Whether a call may be taken on now; called on its headers, before its body is read. */
export interface AdmissionHook {
  /** @returns undefined to let it pass, else why not and when to try again */
  admit(call: AdmissionCall): LoadRefusal | undefined;
}

/** Why a call is not taken on now, and when to try again. */
export interface LoadRefusal {
  readonly reason: string;
  readonly retryAfterMs: number;
}

/** What admission may look at. */
export interface AdmissionCall {
  readonly method: DescMethod;
  readonly tenant: string;
  /** True if the call changes something. */
  readonly isWrite: boolean;
}

export interface GateOptions {
  readonly authenticator: Authenticator;
  readonly admission: readonly AdmissionHook[];
  readonly limits: GatewayLimits;
  readonly load: Load;
  readonly random: Random;
  readonly metrics: Metrics;
  /** Services that anybody may call and that are never refused for load: health, reflection. */
  readonly openServices: ReadonlySet<string>;
}

/** Runs on the headers of every call, in every protocol: who calls, may the call come in. */
export type Gate = (context: HandlerContext) => Promise<void>;

const FULL: LoadRefusal = {
  reason: "this gateway has as many calls under way as it can take",
  retryAfterMs: 1_000,
};
const TRACEPARENT_FORM = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The gate of this gateway. What it throws has the shape of the error table. */
export function createGate(options: GateOptions): Gate {
  const { authenticator, limits, random, openServices } = options;
  const refused = refusedCounter(options.metrics);
  const enter = async (context: HandlerContext, callId: string) => {
    checkDeadline(context, limits.deadlineMsMax);
    if (openServices.has(context.service.typeName)) return;
    const identity = await authenticator.authenticate(context.requestHeader, context.values.get(peerKey));
    context.values.set(scopeKey, { ...identity, callId, trace: traceOf(context.requestHeader) });
    const refusal = loadRefusal(context.method, identity.tenant, options);
    if (refusal !== undefined)
      throw edgeError("OVERLOADED", refusal.reason, { retryAfterMs: refusal.retryAfterMs });
  };
  return async (context) => {
    const callId = random.id();
    context.responseHeader.set("x-request-id", callId);
    try {
      await enter(context, callId);
    } catch (thrown) {
      const error = toEdgeError(thrown, callId);
      refused.inc({ code: codeToString(error.code) });
      throw error;
    }
  };
}

/** What is under way here, and what the hooks say. */
export function loadRefusal(
  method: DescMethod,
  tenant: string,
  { load, limits, admission }: Pick<GateOptions, "load" | "limits" | "admission">,
): LoadRefusal | undefined {
  const isFull =
    method.methodKind === "unary"
      ? load.callsInFlight >= limits.callsInFlightMax
      : load.streamsOpen >= limits.streamsOpenMax;
  if (isFull) return FULL;
  const isWrite = method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  for (const hook of admission) {
    const refusal = hook.admit({ method, tenant, isWrite });
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

export function refusedCounter(metrics: Metrics): CounterMetric<"code"> {
  return metrics.counter({
    name: "tradewind_gateway_calls_refused_total",
    help: "Calls refused on their headers, by code.",
    labels: ["code"],
  });
}

/** The caller's. One made up here would be in every message that the call causes, and nobody could look for it. */
function traceOf(header: Headers): string {
  const given = header.get("traceparent");
  return given !== null && TRACEPARENT_FORM.test(given) ? given : "";
}
