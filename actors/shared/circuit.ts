import { type Clock, systemClock, type TimerHandle } from "../../platform/clock.ts";

export interface CircuitOptions {
  /** True for errors that speak against the provider, not against the one request. */
  readonly isFault: (error: unknown) => boolean;
  /** Faults in a row, without one answer between them, that open the circuit. */
  readonly faultsMax?: number;
  /** While it is open, one call is let through this often, to see whether the provider is back. */
  readonly probeEveryMs?: number;
  /** How long a call is held back while the circuit is open, before it fails. */
  readonly heldMsMax: number;
  /** Told when it opens and when it closes. */
  readonly onChange?: ((isOpen: boolean) => void) | undefined;
  readonly clock?: Clock;
}

/** The call was not made: the provider has not answered anybody for a while. */
export class CircuitOpenError extends Error {
  override readonly name = "CircuitOpenError";
}

/** Far above what a few bad payment methods at once can do, and reached in no time by a provider that is away. */
const FAULTS_MAX = 20;
const PROBE_EVERY_MS = 250;

/**
 * A circuit breaker that holds calls back while it is open, so that a short outage uses up no attempts. Closed, it
 * lets everything through at once; open, one call every `probeEveryMs`, and closes with the first answer. Libraries
 * wait for the one call that they let through: a call of the kind that gets no answer kept all others back for its
 * 2.5 s, and a provider that was away for 0.2 s cost orders 7.5 s.
 */
export class Circuit {
  readonly #options: CircuitOptions;
  /** Lets go of a call that is held back, oldest first. */
  readonly #held = new Set<() => void>();
  readonly #clock: Clock;
  #faults = 0;
  #isOpen = false;
  /** Set while a call is held back. */
  #probe: TimerHandle | undefined;

  constructor(options: CircuitOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** @throws CircuitOpenError when the call was held back for too long or `signal` ended it: it was never made */
  async run<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#isOpen) await this.#hold(signal);
    try {
      const result = await call();
      this.#answered();
      return result;
    } catch (error) {
      if (this.#options.isFault(error)) this.#failed();
      else this.#answered();
      throw error;
    }
  }

  #hold(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = () => reject(new CircuitOpenError("the provider answers nobody, so it was not called"));
    const timer = this.#clock.setTimer(giveUp, this.#options.heldMsMax);
    signal.addEventListener("abort", giveUp);
    if (signal.aborted) giveUp();
    this.#held.add(resolve);
    this.#probeLater();
    return promise.finally(() => {
      timer.cancel();
      signal.removeEventListener("abort", giveUp);
      this.#held.delete(resolve);
    });
  }

  #probeLater(): void {
    this.#probe ??= this.#clock.setTimer(() => {
      this.#probe = undefined;
      this.#letGo(1);
      if (this.#held.size > 0) this.#probeLater();
    }, this.#options.probeEveryMs ?? PROBE_EVERY_MS);
  }

  #failed(): void {
    const { faultsMax = FAULTS_MAX, onChange } = this.#options;
    if (++this.#faults < faultsMax || this.#isOpen) return;
    this.#isOpen = true;
    onChange?.(true);
  }

  #answered(): void {
    this.#faults = 0;
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#probe?.cancel();
    this.#probe = undefined;
    this.#letGo(this.#held.size);
    this.#options.onChange?.(false);
  }

  #letGo(callsMax: number): void {
    for (const release of [...this.#held].slice(0, callsMax)) {
      this.#held.delete(release);
      release();
    }
  }
}
