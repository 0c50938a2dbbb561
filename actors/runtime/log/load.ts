import type { Logger } from "../../../platform/log.ts";
import {
  LoadSchema,
  type DeadLetter,
  type Load,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { create } from "../codec/create.ts";
import type { InputQueue } from "./inputs.ts";
import type { Claimed } from "./takeover.ts";

/** What an owner knows of its load; times are monotonic. */
export interface LoadFacts {
  readonly group: string;
  readonly log: number;
  readonly owner: string;
  readonly claimed: Pick<Claimed, "epoch" | "journal">;
  readonly queue: Pick<InputQueue, "length" | "oldestArrivedMs" | "takenThrough">;
  readonly applied: number;
  readonly dirty: number;
  readonly unprojectedSinceMs: number | undefined;
  /** The journal has no room for more than what lets it be purged. */
  readonly isHeldBack: boolean;
  readonly deadLettered: number;
}

/** The word that an owner gives of its load, with ages in place of times. */
export function loadOf(nowMs: number, facts: LoadFacts): Load {
  const { group, log, owner, claimed, queue, dirty } = facts;
  const { epoch, journal } = claimed;
  const age = (sinceMs: number | undefined) =>
    BigInt(sinceMs === undefined ? 0 : Math.max(0, Math.round(nowMs - sinceMs)));
  return create(LoadSchema, {
    group,
    log,
    owner,
    epoch,
    queued: queue.length,
    dirty,
    halted: journal.isFull || facts.isHeldBack ? "the journal is full" : "",
    oldestAgeMs: age(queue.oldestArrivedMs),
    logSequence: BigInt(journal.last),
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
