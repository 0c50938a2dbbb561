import { hash } from "node:crypto";
import type { DescMessage, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import type { Clock, TimerHandle } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import {
  type Entry,
  EntrySchema,
  RepliesSchema,
  type Reply,
  RequestSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { kindOf } from "../actor.ts";
import { assert, DefectError } from "../assert.ts";
import type { Bus, CoreMessage, Subscription } from "../bus/bus.ts";
import { type ActorAddress, CallError, type CallOptions, type CallResult } from "../client.ts";
import { DomainError } from "../domain-error.ts";
import type { InboxDelay } from "./inbox-delay.ts";
import type { InboxWriter } from "../inbox-writer.ts";
import { LIMITS } from "../limits.ts";
import type { SeenLogs } from "./seen-logs.ts";
import { isKey, isToken, type Topology } from "../topology.ts";
import { encode } from "../codec/encode.ts";
import { decode } from "../codec/decode.ts";
import { create } from "../codec/create.ts";

/** What the calls need from outside. */
export interface ClientCallsOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  readonly topology: Topology;
  readonly clientId: string;
  readonly writer: InboxWriter;
  readonly seen: SeenLogs;
  readonly delay: InboxDelay;
  /** Age of the oldest message that a log has not applied, as far as its owner has said. */
  readonly backlogAgeMs: (group: string, log: number) => number;
}

/** A call that hears nothing for so long after its entry was stored sends it again; the wait doubles each time. */
const RESEND_AFTER_MS = 1_000;
const RESEND_AFTER_MS_MAX = 8_000;
/** Deadlines and resends are looked at this often: one timer for all calls. */
const SWEEP_EVERY_MS = 50;
const REQUEST_ID_LENGTH_MAX = 255;
const REQUEST_ID_LENGTH_TEXT = `request ids have 1 to ${REQUEST_ID_LENGTH_MAX} characters`;
const BUSY_RETRY_AFTER_MS = 500;

interface Call {
  readonly method: DescMethodUnary;
  readonly group: string;
  readonly log: number;
  readonly entry: Entry;
  /** Monotonic. */
  readonly deadlineMs: number;
  /** Infinity until the entry is stored. */
  resendAtMs: number;
  resendAfterMs: number;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: (() => void) | undefined;
  readonly resolve: (result: CallResult<DescMessage>) => void;
  readonly reject: (error: unknown) => void;
}

/** Commands under way: who waits for which answer. One subscription for all of them. */
export class ClientCalls {
  readonly #options: ClientCallsOptions;
  readonly #calls = new Map<number, Call>();
  readonly #replies: Subscription;
  readonly #replyTo: string;
  #lastCorrelation = 0;
  #sweep: TimerHandle | undefined;
  #isClosed = false;

  constructor(options: ClientCallsOptions) {
    this.#options = options;
    this.#replyTo = options.topology.replies(options.clientId);
    this.#replies = options.bus.subscribe(this.#replyTo, (message) => this.#onReplies(message));
  }

  /** See ActorClient.call. */
  call<M extends DescMethodUnary>(
    method: M,
    address: ActorAddress,
    message: MessageInitShape<M["input"]>,
    options: CallOptions,
  ): Promise<CallResult<M["output"]>> {
    const { signal } = options;
    if (this.#isClosed) return Promise.reject(closedError());
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    if (this.#calls.size >= LIMITS.callsInFlightMax) {
      const text = `${LIMITS.callsInFlightMax} commands of this process wait for their answers`;
      return Promise.reject(new CallError("overloaded", text, BUSY_RETRY_AFTER_MS));
    }
    return new Promise<CallResult<DescMessage>>((resolve, reject) => {
      const body = encode(method.input, create(method.input, message));
      this.#start(method, address, body, options, resolve, reject);
    }) as Promise<CallResult<M["output"]>>;
  }

  close(): void {
    this.#isClosed = true;
    this.#replies.close();
    this.#sweep?.cancel();
    // Some are stored and will be applied: their callers must ask again with the same id.
    const error = () =>
      new CallError("timeout", "this process is shutting down and waits for no answer any more");
    for (const correlation of this.#calls.keys()) this.#end(correlation)?.reject(error());
  }

  #start(
    method: DescMethodUnary,
    address: ActorAddress,
    body: Uint8Array,
    options: CallOptions,
    resolve: Call["resolve"],
    reject: Call["reject"],
  ): void {
    const { topology, clock } = this.#options;
    const correlation = ++this.#lastCorrelation;
    const entry = requestEntry(method, address, body, options, this.#replyTo, correlation);
    const group = topology.groupOf(entry.kind);
    const log = topology.logOf(group, entry.tenant, entry.key);
    const { signal } = options;
    // Not assigned to the call later: V8 gives such a function, and all it refers to, to the old generation at once.
    const onAbort = signal && (() => this.#end(correlation)?.reject(signal.reason));
    const deadlineMs = clock.monotonicMs() + options.timeoutMs;
    const call: Call = {
      method,
      group,
      log,
      entry,
      deadlineMs,
      resendAtMs: Infinity,
      resendAfterMs: RESEND_AFTER_MS,
      signal,
      onAbort,
      resolve,
      reject,
    };
    this.#calls.set(correlation, call);
    if (onAbort) signal.addEventListener("abort", onAbort, { once: true });
    this.#sweep ??= clock.setTimer(() => this.#onSweep(), SWEEP_EVERY_MS);
    this.#options.writer.append(group, log, entry, deadlineMs).then(
      () => this.#awaitReply(call),
      (error: unknown) => this.#end(correlation)?.reject(error),
    );
  }

  /** Takes the call out of the table. */
  #end(correlation: number): Call | undefined {
    const call = this.#calls.get(correlation);
    if (call === undefined) return undefined;
    this.#calls.delete(correlation);
    if (call.onAbort) call.signal?.removeEventListener("abort", call.onAbort);
    return call;
  }

  /** A log that is behind answers late: asking again would make it later still. */
  #awaitReply(call: Call): void {
    const { clock, backlogAgeMs } = this.#options;
    call.resendAtMs = clock.monotonicMs() + call.resendAfterMs + backlogAgeMs(call.group, call.log);
    call.resendAfterMs = Math.min(call.resendAfterMs * 2, RESEND_AFTER_MS_MAX);
  }

  #onSweep(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [correlation, call] of this.#calls) {
      if (call.deadlineMs <= nowMs) {
        const { kind, key } = call.entry;
        this.#end(correlation);
        call.reject(new CallError("timeout", `${kind} ${key} did not answer ${call.method.name} in time`));
      } else if (call.resendAtMs <= nowMs) this.#resend(call);
    }
    this.#sweep =
      this.#calls.size === 0
        ? undefined
        : this.#options.clock.setTimer(() => this.#onSweep(), SWEEP_EVERY_MS);
  }

  #resend(call: Call): void {
    const { group, log, entry, deadlineMs } = call;
    call.resendAtMs = Infinity;
    this.#options.log.debug({ kind: entry.kind, key: entry.key, log }, "command asked again");
    // Where this copy is refused, the answer to the first may still come.
    const again = () => this.#awaitReply(call);
    this.#options.writer.append(group, log, entry, deadlineMs).then(again, again);
  }

  #onReplies(message: CoreMessage): void {
    const { log, seen, delay } = this.#options;
    try {
      const replies = decode(RepliesSchema, message.data);
      seen.see(replies.group, replies.log, replies.logSequence);
      delay.taken(replies.group, replies.log, Number(replies.inboxSequence));
      for (const reply of replies.replies) this.#onReply(reply);
    } catch (error) {
      log.error({ err: error }, "replies are not readable");
    }
  }

  #onReply({ correlation, result, replayed }: Reply): void {
    const call = this.#end(Number(correlation));
    if (call === undefined) return; // the answer to a repeat, or too late
    switch (result.case) {
      case "reply":
        try {
          call.resolve({ message: decode(call.method.output, result.value), replayed });
        } catch (error) {
          const text = `the answer to ${call.method.name} is no ${call.method.output.typeName}: ${String(error)}`;
          call.reject(new CallError("defect", text));
        }
        return;
      case "refusal":
        call.reject(DomainError.of(result.value.reason, result.value.message, result.value.metadata));
        return;
      case "deadLetter":
        call.reject(new CallError("defect", `${call.method.name} failed, see dead letter ${result.value}`));
        return;
      default:
        call.reject(new CallError("defect", `the answer to ${call.method.name} is empty`));
    }
  }
}

function requestEntry(
  method: DescMethodUnary,
  address: ActorAddress,
  body: Uint8Array,
  options: CallOptions,
  replyTo: string,
  correlation: number,
): Entry {
  const { tenant, key } = address;
  const { requestId, trace = "" } = options;
  // Each text is made for the one call in a million that needs it.
  if (!isToken(tenant)) throw new DefectError(`${JSON.stringify(tenant)} is not a tenant`);
  if (!isKey(key)) throw new DefectError(`${JSON.stringify(key)} is not a key`);
  assert(requestId.length > 0 && requestId.length <= REQUEST_ID_LENGTH_MAX, REQUEST_ID_LENGTH_TEXT);
  if (body.length > LIMITS.bodyBytesMax)
    throw new DefectError(`${method.name} has ${body.length} bytes, send at most ${LIMITS.bodyBytesMax}`);
  const fingerprint = options.fingerprint ?? fingerprintOf(method, body);
  const request = create(RequestSchema, {
    id: requestId,
    fingerprint,
    replyTo,
    correlation: BigInt(correlation),
  });
  return create(EntrySchema, {
    kind: kindOf(method.parent),
    tenant,
    key,
    method: method.name,
    body,
    source: { case: "request", value: request },
    trace,
  });
}

/** SHA-256 over the rpc's name and the encoded message. */
function fingerprintOf(method: DescMethodUnary, body: Uint8Array): Uint8Array {
  return hash("sha256", Buffer.concat([Buffer.from(`${method.name}\n`), body]), "buffer");
}

function closedError(): CallError {
  return new CallError("unavailable", "this process is shutting down");
}
