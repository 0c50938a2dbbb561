import type { HandlerContext, Interceptor } from "@connectrpc/connect";
import type { Clock } from "../../platform/clock.ts";
import { edgeError } from "../connect-errors.ts";

/**
 * Ends a unary call that has no deadline of its own after `deadlineMsMax`. The client's own deadline needs no help: it
 * aborts the call's signal.
 */
export function createDeadlineInterceptor(clock: Clock, deadlineMsMax: number): Interceptor {
  return (next) => (request) => {
    if (request.stream) return next(request);
    return new Promise((resolve, reject) => {
      const timer = clock.setTimer(
        () => reject(edgeError("DEADLINE_EXCEEDED", `no answer within ${deadlineMsMax} ms`)),
        deadlineMsMax,
      );
      next(request).then(
        (response) => {
          timer.cancel();
          resolve(response);
        },
        (error: unknown) => {
          timer.cancel();
          reject(error);
        },
      );
    });
  };
}

/** @throws ConnectError VALIDATION for a unary call whose client wants to wait longer than `deadlineMsMax`. */
export function checkDeadline(context: HandlerContext, deadlineMsMax: number): void {
  const timeoutMs = context.timeoutMs();
  if (timeoutMs === undefined || timeoutMs <= deadlineMsMax || context.method.methodKind !== "unary") return;
  throw edgeError(
    "VALIDATION",
    `the deadline of ${Math.ceil(timeoutMs)} ms is over the limit of ${deadlineMsMax} ms`,
  );
}

/** What is left of the call's deadline, less `reserveMs` to answer in; at least 1. */
export function remainingMs(context: HandlerContext, deadlineMsMax: number, reserveMs = 0): number {
  return Math.max(1, Math.min(context.timeoutMs() ?? deadlineMsMax, deadlineMsMax) - reserveMs);
}
