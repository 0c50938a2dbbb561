import type { Random } from "../../../platform/random.ts";
import type { RetryPolicy } from "../task-queue.ts";

/** Doublings beyond this change nothing: the maximum delay is reached long before. */
const DOUBLINGS_MAX = 30;

/** Rest before attempt `attempt + 1`: exponential, between half and all of it, so that workers spread out. */
export function retryDelayMs(policy: RetryPolicy, attempt: number, random: Random): number {
  const doublings = Math.min(Math.max(attempt, 1) - 1, DOUBLINGS_MAX);
  const fullMs = Math.min(policy.delayMsMin * 2 ** doublings, policy.delayMsMax);
  return Math.ceil(fullMs * (0.5 + random.float() / 2));
}
