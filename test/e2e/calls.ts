import { type Code, ConnectError } from "@connectrpc/connect";
import { expect } from "vitest";
import { sleep, systemClock } from "../../platform/clock.ts";
import { BadRequestSchema, ErrorInfoSchema } from "../../proto/gen/google/rpc/error_details_pb.ts";
import { Wait } from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";

const UNTIL_MS = 15_000;
const POLL_MS = 10;

/**
 * Waits until the condition is true, or answers with something. @throws Error when time is over; what it threw is
 * the cause
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  timeoutMs = UNTIL_MS,
): Promise<NonNullable<T>> {
  const endMs = systemClock.monotonicMs() + timeoutMs;
  for (;;) {
    let failure: unknown;
    try {
      const value = await condition();
      if (value) return value;
    } catch (error) {
      failure = error;
    }
    if (systemClock.monotonicMs() > endMs) {
      throw new Error(`did not come true within ${timeoutMs} ms: ${condition.toString()}`, {
        cause: failure,
      });
    }
    await sleep(systemClock, POLL_MS);
  }
}

/** For `expect.poll` of what becomes true in a moment. */
export const SOON = { timeout: UNTIL_MS, interval: POLL_MS };

export const pause = (delayMs: number) => sleep(systemClock, delayMs);

export const EUR = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });

/** Everything of a token. */
export const paidBy = (methodToken: string) => ({ payment: { methodToken } });

/** An order of one product, waited for until it is settled; paid with `token` unless that is empty. */
export function orderOf(productId: string, quantity = 1, token = "tok_ok") {
  return {
    customerId: "ada",
    lines: [{ productId, quantity }],
    ...(token === "" ? {} : paidBy(token)),
    wait: Wait.SETTLED,
  };
}

/** An error as callers see it. */
export interface Failure {
  readonly code: Code;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Paths of the fields that break a rule. */
  readonly fields: readonly string[];
  readonly text: string;
}

/** The error that a call or stream ends with; fails the test if it does not. */
export async function failureOf(call: Promise<unknown> | AsyncIterable<unknown>): Promise<Failure> {
  const whole = Symbol.asyncIterator in call ? drain(call) : call;
  const error = await whole.then(
    () => expect.fail("the call did not fail"),
    (thrown: unknown) => ConnectError.from(thrown),
  );
  const [info] = error.findDetails(ErrorInfoSchema);
  const fields = error
    .findDetails(BadRequestSchema)
    .flatMap(({ fieldViolations }) => fieldViolations.map(({ field }) => field));
  const { code, rawMessage: text } = error;
  return { code, reason: info?.reason ?? "", metadata: info?.metadata ?? {}, fields, text };
}

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const message of stream) void message;
}

/** Reads a stream until `isEnough` says so, then cancels it. */
export async function readUntil<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  isEnough: (all: readonly T[]) => unknown,
): Promise<readonly T[]> {
  const abort = new AbortController();
  const all: T[] = [];
  try {
    for await (const message of open(abort.signal)) {
      all.push(message);
      if (await isEnough(all)) break;
    }
  } finally {
    abort.abort();
  }
  return all;
}

/** One server-sent event; `data` is parsed. */
export interface ServerEvent {
  readonly id: string;
  readonly event: string;
  readonly data: Record<string, unknown>;
}

/** Server-sent events of a path, as `curl -N` and EventSource see them. */
export async function* serverEvents(
  url: string,
  signal: AbortSignal,
  headers: Record<string, string> = {},
): AsyncGenerator<ServerEvent> {
  const response = await fetch(url, { signal, headers });
  expect([response.status, response.headers.get("content-type")]).toEqual([
    200,
    "text/event-stream; charset=utf-8",
  ]);
  let text = "";
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString("utf8");
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = new Map(block.split("\n").map((line) => splitAt(line, ": ")));
      const data = fields.get("data");
      if (data === undefined) continue;
      yield {
        id: fields.get("id") ?? "",
        event: fields.get("event") ?? "",
        data: JSON.parse(data) as ServerEvent["data"],
      };
    }
  }
}

function splitAt(line: string, separator: string): [string, string] {
  const at = line.indexOf(separator);
  return [line.slice(0, at), line.slice(at + separator.length)];
}
