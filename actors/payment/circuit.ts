import { BrokenCircuitError, circuitBreaker, CircuitState, ConsecutiveBreaker, handleWhen } from "cockatiel";

export interface CircuitOptions {
  /** True for errors that speak against the provider, not against the one request. */
  readonly isFault: (error: unknown) => boolean;
  /** Faults in a row, without one answer between them, that open the circuit. */
  readonly faultsMax?: number;
  /** From the opening to the one call that tries whether the provider is back. */
  readonly openMs?: number;
  /** How long a call is held back while the circuit is open, before it fails. */
  readonly heldMsMax: number;
  /** Told when it opens (again) and when it closes. */
  readonly onChange?: ((isOpen: boolean) => void) | undefined;
}

/** Runs calls while the provider seems to be there. */
export interface Circuit {
  /** @throws CircuitOpenError when the call was held back for too long: it was never made */
  run<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T>;
}

/** The call was not made: the provider has not answered anybody for a while. */
export class CircuitOpenError extends Error {
  override readonly name = "CircuitOpenError";
}

/** Far above what a few bad payment methods at once can do, and reached in no time by a provider that is away. */
const FAULTS_MAX = 20;
const OPEN_MS = 1_000;
/** How often a call that is held back looks again. */
const LOOK_MS = 100;

/**
 * A circuit breaker that holds calls back while it is open, so that a short outage uses up no attempts. Closed, it
 * lets everything through at once; open for `openMs`, it lets one call through and closes with its answer.
 */
export function createCircuit(options: CircuitOptions): Circuit {
  const { isFault, faultsMax = FAULTS_MAX, openMs = OPEN_MS, heldMsMax, onChange } = options;
  const breaker = circuitBreaker(handleWhen(isFault), {
    breaker: new ConsecutiveBreaker(faultsMax),
    halfOpenAfter: openMs,
  });
  breaker.onStateChange((state) => {
    if (state !== CircuitState.HalfOpen) onChange?.(state !== CircuitState.Closed);
  });
  return {
    run: async (call, signal) => {
      let held: AbortSignal | undefined;
      for (;;) {
        try {
          return await breaker.execute(call);
        } catch (error) {
          if (!(error instanceof BrokenCircuitError)) throw error;
        }
        held ??= AbortSignal.any([signal, AbortSignal.timeout(heldMsMax)]);
        if (held.aborted) throw new CircuitOpenError("the provider answers nobody, so it was not called");
        await aborted(AbortSignal.any([held, AbortSignal.timeout(LOOK_MS)]));
      }
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
