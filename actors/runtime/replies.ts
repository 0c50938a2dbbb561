import { create } from "@bufbuild/protobuf";
import {
  RepliesSchema,
  ReplySchema,
  type Replies,
  type Reply,
} from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Bus } from "./bus.ts";
import { LIMITS } from "./limits.ts";
import type { PendingReply } from "./step-context.ts";
import { encode } from "./encode.ts";

/** Sends replies over core NATS, those for one caller together. A caller that misses one asks again. */
export function publishReplies(
  bus: Bus,
  head: Pick<Replies, "group" | "log" | "epoch" | "logSequence">,
  replies: readonly PendingReply[],
): void {
  for (const [subject, list] of bySubject(replies)) {
    for (let from = 0; from < list.length; from += LIMITS.repliesPerMessageMax) {
      const part = list.slice(from, from + LIMITS.repliesPerMessageMax);
      bus.publish(subject, encode(RepliesSchema, create(RepliesSchema, { ...head, replies: part })));
    }
  }
}

function bySubject(replies: readonly PendingReply[]): ReadonlyMap<string, Reply[]> {
  const lists = new Map<string, Reply[]>();
  for (const { request, result, replayed } of replies) {
    if (request.replyTo === "") continue;
    const reply = create(ReplySchema, { correlation: request.correlation, result, replayed });
    const list = lists.get(request.replyTo);
    if (list === undefined) lists.set(request.replyTo, [reply]);
    else list.push(reply);
  }
  return lists;
}
