import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { Clock } from "../../platform/clock.ts";
import type { Metrics } from "../../platform/metrics.ts";

/** What is under way in this gateway; admission looks at it. */
export interface Load {
  callsInFlight: number;
  streamsOpen: number;
}

/** Counts and times every call by method and code, and keeps `load` current. A stream counts when it ends. */
export function createObserveInterceptor(clock: Clock, metrics: Metrics, load: Load): Interceptor {
  const seconds = metrics.histogram({
    name: "tradewind_gateway_call_seconds",
    help: "Time from the request message to the answer of unary calls.",
    labels: ["method"],
  });
  const calls = metrics.counter({
    name: "tradewind_gateway_calls_total",
    help: "Calls and streams that ended, by how they ended.",
    labels: ["method", "code"],
  });
  const sent = metrics.counter({
    name: "tradewind_gateway_stream_messages_total",
    help: "Messages sent on streams.",
    labels: ["method"],
  });
  metrics.gauge({
    name: "tradewind_gateway_calls_in_flight_count",
    help: "Unary calls under way.",
    collect: (gauge) => gauge.set(load.callsInFlight),
  });
  metrics.gauge({
    name: "tradewind_gateway_streams_open_count",
    help: "Streams open.",
    collect: (gauge) => gauge.set(load.streamsOpen),
  });

  return (next) => async (request) => {
    const method = `${request.service.typeName}/${request.method.name}`;
    const startMs = clock.monotonicMs();
    if (request.stream) load.streamsOpen++;
    else load.callsInFlight++;
    const end = (code: string) => {
      calls.inc({ method, code });
      if (request.stream) load.streamsOpen--;
      else load.callsInFlight--;
    };
    try {
      const response = await next(request);
      if (response.stream)
        return { ...response, message: counted(response.message, () => sent.inc({ method }), end) };
      seconds.observe({ method }, (clock.monotonicMs() - startMs) / 1_000);
      end("ok");
      return response;
    } catch (thrown) {
      end(codeOf(thrown));
      throw thrown;
    }
  };
}

/** `next()` of a stream returns at once, so what it does is seen only by wrapping its messages. */
async function* counted<T>(messages: AsyncIterable<T>, onMessage: () => void, end: (code: string) => void) {
  let code = "canceled";
  try {
    for await (const message of messages) {
      onMessage();
      yield message;
    }
    code = "ok";
  } catch (thrown) {
    code = codeOf(thrown);
    throw thrown;
  } finally {
    end(code);
  }
}

function codeOf(thrown: unknown): string {
  return codeToString(thrown instanceof ConnectError ? thrown.code : Code.Unknown);
}
