import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import type { Clock } from "../../platform/clock.ts";
import type { Logger } from "../../platform/log.ts";
import { scopeKey } from "../call-scope.ts";
import { edgeError, toEdgeError } from "../connect-errors.ts";

interface TimeLimit {
  readonly clock: Clock;
  readonly deadlineMsMax: number;
}

export interface ErrorsOptions extends TimeLimit {
  readonly log: Logger;
}

/**
 * Gives every error the shape of the error table. A call or stream whose signal is aborted (deadline, drain, client
 * gone) ends at once with the signal's reason, whatever its handler does; a unary call without a deadline of its own
 * ends after `deadlineMsMax`. Defects are logged with their cause.
 */
export function createErrorsInterceptor(options: ErrorsOptions): Interceptor {
  const { log } = options;
  return (next) => async (request) => {
    const callId = request.contextValues.get(scopeKey)?.callId ?? "";
    const translate = (thrown: unknown): ConnectError => {
      const isAbort = request.signal.aborted && !(thrown instanceof ConnectError);
      const error = toEdgeError(isAbort ? request.signal.reason : thrown, callId);
      if (error.code === Code.Internal) {
        log.error(
          { callId, rpc: `${request.service.typeName}/${request.method.name}`, err: error.cause },
          "call failed",
        );
      }
      return error;
    };
    try {
      // Over HTTP/2 the body of a call that was given up ends like a whole one: what is left of it is not a request.
      if (request.signal.aborted) throw abortError(request.signal);
      if (!request.stream) return await untilOver(request.signal, next(request), options);
      const response = await next(request);
      if (!response.stream) return response;
      return { ...response, message: translated(response.message, request.signal, translate) };
    } catch (thrown) {
      throw translate(thrown);
    }
  };
}

/** The end of the work, of its caller's patience, or of the time for it: one promise for all of them. */
function untilOver<T>(signal: AbortSignal, work: Promise<T>, limit?: TimeLimit): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = limit?.clock.setTimer(
      () => reject(edgeError("DEADLINE_EXCEEDED", `no answer within ${limit.deadlineMsMax} ms`)),
      limit.deadlineMsMax,
    );
    const abort = () => {
      timer?.cancel();
      reject(abortError(signal));
    };
    const end = () => {
      timer?.cancel();
      signal.removeEventListener("abort", abort);
    };
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    work.then(
      (value) => {
        end();
        resolve(value);
      },
      (error: unknown) => {
        end();
        reject(error);
      },
    );
  });
}

function abortError(signal: AbortSignal): ConnectError {
  const reason: unknown = signal.reason;
  return reason instanceof ConnectError ? reason : new ConnectError("the caller went away", Code.Canceled);
}

async function* translated<T>(
  messages: AsyncIterable<T>,
  signal: AbortSignal,
  translate: (thrown: unknown) => ConnectError,
): AsyncGenerator<T> {
  const iterator = messages[Symbol.asyncIterator]();
  try {
    for (;;) {
      const result = await untilOver(signal, iterator.next());
      if (result.done === true) return;
      yield result.value;
    }
  } catch (thrown) {
    throw translate(thrown);
  } finally {
    // A handler that waits for something else must not keep the stream from ending: its return is not awaited.
    iterator.return?.().catch(() => undefined);
  }
}
