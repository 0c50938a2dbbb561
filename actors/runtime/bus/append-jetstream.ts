import type { Random } from "../../../platform/random.ts";
import { assert } from "../assert.ts";
import { sendBatch } from "./batch-jetstream.ts";
import type { Append, AppendOutcome } from "./bus.ts";
import { type ApiError, outcomeOfError } from "./errors-jetstream.ts";
import { LIMITS } from "../limits.ts";
import { appendLines, toHeaders } from "./message-jetstream.ts";
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
  return stored((asker) => {
    const headers = toHeaders(message.headers, appendLines(message));
    requests.ask(message.subject, message.data, headers, LIMITS.appendTimeoutMs, asker);
  });
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
  return stored((asker) =>
    requests.askBy(
      (replyTo) => sendBatch(requests.nc, batchId, messages, replyTo),
      LIMITS.appendTimeoutMs,
      asker,
    ),
  );
}

/** What became of it. `ask` sends it, or throws if the message is over the server's limit, or a header is malformed. */
function stored(ask: (asker: Asker) => void): Promise<AppendOutcome> {
  return new Promise((resolve) => {
    try {
      ask({
        onMessage: (msg) => {
          resolve(outcomeOf(msg.string()));
          return true;
        },
        onSilence: (why) => resolve(unknown(why)),
      });
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
