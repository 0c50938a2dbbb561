import type { Logger } from "../../../platform/log.ts";
import {
  LoadSchema,
  type DeadLetter,
  type Load,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { create } from "../codec/create.ts";
import type { InputQueue } from "./inputs.ts";

/** What an owner knows of its load; times are monotonic. */
export interface LoadFacts {
  readonly group: string;
  readonly log: number;
  readonly owner: string;
  readonly epoch: bigint;
  readonly queue: Pick<InputQueue, "length" | "oldestArrivedMs" | "takenThrough">;
  readonly last: number;
  readonly applied: number;
  readonly dirty: number;
  readonly unprojectedSinceMs: number | undefined;
  readonly halted: string;
  readonly deadLettered: number;
}

/** The word that an owner gives of its load, with ages in place of times. */
export function loadOf(nowMs: number, facts: LoadFacts): Load {
  const { group, log, owner, epoch, queue, dirty, halted } = facts;
  const age = (sinceMs: number | undefined) =>
    BigInt(sinceMs === undefined ? 0 : Math.max(0, Math.round(nowMs - sinceMs)));
  return create(LoadSchema, {
    group,
    log,
    owner,
    epoch,
    queued: queue.length,
    dirty,
    halted,
    oldestAgeMs: age(queue.oldestArrivedMs),
    logSequence: BigInt(facts.last),
    inboxSequence: BigInt(queue.takenThrough("inbox")),
    applied: BigInt(facts.applied),
    projectionAgeMs: age(facts.unprojectedSinceMs),
    deadLettered: BigInt(facts.deadLettered),
  });
}

/** Says of each dead letter of a commit what it was and why. */
export function tellDeadLetters(
  logger: Logger,
  count: (kind: string, reason: string) => void,
  letters: readonly DeadLetter[],
): void {
  for (const { id, reason, error, entry } of letters) {
    const { kind = "none", tenant, key, method } = entry ?? {};
    count(kind, reason);
    logger.warn({ id, reason, kind, tenant, key, method, error }, "message went to the dead letters");
  }
}
