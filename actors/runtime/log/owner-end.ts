import type { Logger } from "../../../platform/log.ts";
import { FencedError } from "./watermark.ts";

/** Why an owner ended. */
export type OwnerEnd = "handed-over" | "fenced" | "aborted" | "failed";

/** What the failure of an owner means; undefined: it was stopped. A failure that nobody asked for is logged. */
export function endOf(
  failure: unknown,
  { logger, log }: { readonly logger: Logger; readonly log: number },
): OwnerEnd {
  if (failure instanceof FencedError) return "fenced";
  const isAbort = failure === undefined || (failure instanceof Error && failure.name === "AbortError");
  if (isAbort) return "aborted";
  logger.error({ log, err: failure }, "the owner of a log failed");
  return "failed";
}
