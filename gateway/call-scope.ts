import { createContextKey, type ContextKey, type ContextValues } from "@connectrpc/connect";
import { edgeError } from "./connect-errors.ts";

/** Who calls, on whose behalf, and under which names it is logged. Set before any interceptor runs. */
export interface CallScope {
  /** All reads and writes stay within it. */
  readonly tenant: string;
  /** Identity of the caller within the tenant; part of every idempotency scope. */
  readonly principal: string;
  /** Unique for this call; in logs, in `x-request-id` and in the text of internal errors. */
  readonly callId: string;
  /** W3C traceparent that the caller sent, empty if it sent none. */
  readonly trace: string;
}

/** Where the call comes from. */
export interface Peer {
  /** Remote address, empty when there is none (calls within the process). */
  readonly address: string;
}

/** What proves who calls; later releases replace this one function to check credentials. */
export interface Authenticator {
  /**
   * May be asked twice for one call. Headers are asked for in lower case.
   * @throws ConnectError UNAUTHENTICATED or PERMISSION_DENIED
   */
  authenticate(header: Pick<Headers, "get">, peer: Peer): Promise<Identity> | Identity;
}

/** A proven caller. */
export interface Identity {
  readonly tenant: string;
  readonly principal: string;
}

export const scopeKey: ContextKey<CallScope | undefined> = createContextKey<CallScope | undefined>(undefined);
export const peerKey: ContextKey<Peer> = createContextKey<Peer>({ address: "" });

/** @throws ConnectError INTERNAL when the gate has not run, which is a defect. */
export function scopeOf(context: { readonly values: ContextValues }): CallScope {
  const scope = context.values.get(scopeKey);
  if (scope === undefined) throw edgeError("INTERNAL", "the call has no scope");
  return scope;
}

/**
 * Everybody on this machine is `principal` of `tenant`; other machines are refused unless `isOpen`. For development,
 * and for a network where another part does the checking.
 */
export function loopbackAuthenticator(identity: Identity, isOpen = false): Authenticator {
  return {
    authenticate: (_header, { address }) => {
      if (isOpen || isLoopback(address)) return identity;
      throw edgeError(
        "UNAUTHENTICATED",
        "calls from other machines are not served without credentials; set GATEWAY_OPEN=true to serve them",
      );
    },
  };
}

function isLoopback(address: string): boolean {
  return address === "" || address === "::1" || /^(::ffff:)?127\./.test(address);
}
