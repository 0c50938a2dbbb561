import {
  RepliesSchema,
  ReplySchema,
  type Replies,
  type Reply,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Bus } from "../bus/bus.ts";
import { LIMITS } from "../limits.ts";
import type { PendingReply } from "../step/step-context.ts";
import { encode } from "../codec/encode.ts";
import { create } from "../codec/create.ts";

/** What a reply takes beside its body. */
const FRAME_BYTES = 32;
/** A refusal is a reason, a sentence and some words more. */
const REFUSAL_BYTES_MAX = 4_096;

/** Sends replies over core NATS, those for one caller together. A caller that misses one asks again. */
export function publishReplies(
  bus: Bus,
  head: Pick<Replies, "group" | "log" | "epoch" | "logSequence" | "inboxSequence">,
  replies: readonly PendingReply[],
): void {
  for (const [subject, list] of bySubject(replies)) {
    for (const part of parts(list))
      bus.publish(subject, encode(RepliesSchema, create(RepliesSchema, { ...head, replies: part })));
  }
}

/** As many together as one message holds. */
function* parts(list: readonly Reply[]): Generator<Reply[]> {
  let part: Reply[] = [];
  let bytes = 0;
  for (const reply of list) {
    const size =
      FRAME_BYTES + (reply.result.case === "reply" ? reply.result.value.length : REFUSAL_BYTES_MAX);
    if (part.length === LIMITS.repliesPerMessageMax || bytes + size > LIMITS.commitBytesMax) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(reply);
    bytes += size;
  }
  if (part.length > 0) yield part;
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
