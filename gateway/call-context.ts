import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, type ContextValues, type HandlerContext } from "@connectrpc/connect";
import type { Clock } from "../platform/clock.ts";

/** What is known of a call before it is carried out. */
export interface CallStart {
  readonly method: DescMethod;
  readonly protocolName: string;
  readonly url: string;
  readonly requestHeader: Headers;
  /** The client's own deadline. */
  readonly timeoutMs: number | undefined;
  readonly values: ContextValues;
  readonly clock: Clock;
}

/** The context of a call, and the way to end it from outside. */
export interface CallContext extends HandlerContext {
  /** Aborts the signal and stops the deadline; what comes after the first time counts no more. */
  abort(reason: unknown): void;
  /** Stops the deadline: the call has ended. */
  close(): void;
}

/**
 * The same context as the library makes for a unary call, with one signal for all that may end it instead of three that
 * are linked: the library's way costs time for each call under way. Nothing is aborted when a call has been answered.
 */
export function createCallContext(start: CallStart): CallContext {
  const { method, protocolName, url, requestHeader, timeoutMs, values, clock } = start;
  const controller = new AbortController();
  const endMs = timeoutMs === undefined ? undefined : clock.nowMs() + timeoutMs;
  const timer =
    timeoutMs === undefined
      ? undefined
      : clock.setTimer(
          () => controller.abort(new ConnectError("the operation timed out", Code.DeadlineExceeded)),
          timeoutMs,
        );
  return {
    service: method.parent,
    method,
    protocolName,
    requestMethod: "POST",
    url,
    signal: controller.signal,
    timeoutMs: () => (endMs === undefined ? undefined : endMs - clock.nowMs()),
    requestHeader,
    responseHeader: new Headers(),
    responseTrailer: new Headers(),
    values,
    abort: (reason) => {
      timer?.cancel();
      controller.abort(reason);
    },
    close: () => timer?.cancel(),
  };
}
