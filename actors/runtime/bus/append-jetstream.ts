import type { Random } from "../../../platform/random.ts";
import { assert } from "../assert.ts";
import { sendAlone, sendBatch } from "./send-jetstream.ts";
import type { Append, AppendOutcome } from "./bus.ts";
import { type ApiError, outcomeOfError } from "./errors-jetstream.ts";
import { LIMITS } from "../limits.ts";
import type { Asker, Requests } from "./requests-jetstream.ts";

/** Atomic batches of the server. */
const BATCH_MESSAGES_MAX = 1_000;
/** Of chance: a batch must differ from those that are open at the same time, and its id is sent with each message. */
const BATCH_ID_CHARACTERS = 10;

interface PubAck {
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: ApiError;
}

/** One message to the stream that takes its subject. Never throws for what the server or the network do. */
export function append(requests: Requests, message: Append): Promise<AppendOutcome> {
  return stored(requests, (replyTo) => sendAlone(requests.nc, message, replyTo));
}

/**
 * All of the messages or none, in one round trip: only the last is answered. `js.startBatch()` of the client (3.4.0)
 * drops expectations, time to live and error codes.
 */
export function appendBatch(
  requests: Requests,
  random: Random,
  messages: readonly Append[],
): Promise<AppendOutcome> {
  assert(messages.length > 0, "a batch holds at least one message");
  assert(
    messages.length <= BATCH_MESSAGES_MAX,
    `a batch holds ${messages.length} > ${BATCH_MESSAGES_MAX} messages`,
  );
  if (!requests.isConnected) return Promise.resolve(unknown("disconnected"));
  const batchId = random.id().slice(-BATCH_ID_CHARACTERS);
  return stored(requests, (replyTo) => sendBatch(requests.nc, batchId, messages, replyTo));
}

/** What becomes of it. `send` throws where nothing was sent: too large, or a malformed header. */
function stored(requests: Requests, send: (replyTo: string) => void): Promise<AppendOutcome> {
  return new Promise((resolve) => {
    const asker: Asker = {
      onMessage: (msg) => {
        resolve(outcomeOf(msg.string()));
        return true;
      },
      onSilence: (why) => resolve(unknown(why)),
    };
    try {
      requests.askBy(send, LIMITS.appendTimeoutMs, asker);
    } catch (error) {
      resolve({ kind: "refused", full: false, reason: String(error) });
    }
  });
}

function outcomeOf(answer: string): AppendOutcome {
  let ack: PubAck;
  try {
    ack = JSON.parse(answer) as PubAck;
  } catch {
    return unknown(`the answer is no publish ack: ${answer.slice(0, 100)}`);
  }
  if (ack.error !== undefined) return outcomeOfError(ack.error);
  if (ack.seq === undefined) return unknown("the answer has no sequence");
  return { kind: "stored", sequence: ack.seq, duplicate: ack.duplicate === true };
}

function unknown(reason: string): AppendOutcome {
  return { kind: "unknown", reason };
}
