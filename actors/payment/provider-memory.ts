import type { PaymentSimulator, SimulatedCall, SimulatorAnswer } from "../shared/payment-simulator.ts";
import type { PaymentProvider, ProviderAnswer } from "./provider.ts";

/** The simulator in this process: the same rules as over HTTP, without the wire. For benchmarks and tests. */
export function createMemoryProvider(simulator: PaymentSimulator): PaymentProvider {
  const call = async (request: SimulatedCall, signal: AbortSignal): Promise<ProviderAnswer> => {
    signal.throwIfAborted();
    const answer = await simulator.call(request);
    if (answer.kind === "silent") await aborted(signal);
    return definite(answer);
  };
  return {
    authorize: (request, signal) => {
      const { key } = request;
      return call({ ...request, operation: "authorize", authorizationKey: key }, signal);
    },
    capture: (request, signal) => call({ ...request, operation: "capture", methodToken: "" }, signal),
    void: (request, signal) => call({ ...request, operation: "void", methodToken: "" }, signal),
    refund: (request, signal) => call({ ...request, operation: "refund", methodToken: "" }, signal),
    query: async (key, signal) => {
      signal.throwIfAborted();
      const answer = simulator.query(key);
      if (answer?.kind === "silent") await aborted(signal);
      return answer && definite(answer);
    },
  };
}

function definite(answer: SimulatorAnswer): ProviderAnswer {
  if (answer.kind !== "answer") throw new Error(`the provider is ${answer.kind}`);
  const { status, ref, expiresMs, code, text } = answer.entry;
  return status === "approved" ? { status, ref, expiresMs } : { status, code, text };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
