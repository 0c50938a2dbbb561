import type { HandlerContext } from "@connectrpc/connect";
import { edgeError } from "../connect-errors.ts";

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
