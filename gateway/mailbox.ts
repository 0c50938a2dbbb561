import type { Clock } from "../platform/clock.ts";

/** What a reader finds when it looks. */
export type Mail<T> =
  | { readonly kind: "items"; readonly items: readonly T[] }
  /** More waited than the bound: what waited is gone, read the state anew. */
  | { readonly kind: "overflow" }
  /** Nothing came for a while. */
  | { readonly kind: "heartbeat" };

/** Holds what a slow reader has not taken, the newest of each key: memory is bounded, whatever the sender does. */
export interface Mailbox<T> {
  put(key: string, item: T): void;
  /**
   * Waits for mail, at most `heartbeatMs`. One reader at a time.
   * @throws the signal's reason once it is aborted
   */
  take(): Promise<Mail<T>>;
}

export interface MailboxOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly heartbeatMs: number;
  /** Keys that may wait. */
  readonly keysMax: number;
  /** Rest between two takes with items, so that fast changes travel together. */
  readonly intervalMs?: number;
}

export function createMailbox<T>(options: MailboxOptions): Mailbox<T> {
  const { clock, signal, heartbeatMs, keysMax, intervalMs = 0 } = options;
  const items = new Map<string, T>();
  let hasOverflown = false;
  let wake = () => {};
  let takenMs = -Infinity;

  /** Resolves when something is put, the signal is aborted, or the time is over. */
  const wait = (delayMs: number) =>
    new Promise<void>((resolve) => {
      const timer = clock.setTimer(() => wake(), delayMs);
      const onAbort = () => wake();
      wake = () => {
        wake = () => {};
        timer.cancel();
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      signal.addEventListener("abort", onAbort, { once: true });
    });
  const hasMail = () => hasOverflown || items.size > 0;

  /** Lets fast changes gather. Mail does not end this rest, so it sleeps until the time is over. */
  const rest = async () => {
    for (;;) {
      const restMs = takenMs + intervalMs - clock.monotonicMs();
      if (restMs <= 0 || signal.aborted) return;
      await wait(restMs);
    }
  };

  return {
    put: (key, item) => {
      // Newest last, so that a reader sees changes in the order of their last write.
      items.delete(key);
      items.set(key, item);
      if (items.size > keysMax) {
        items.clear();
        hasOverflown = true;
      }
      wake();
    },
    take: async () => {
      signal.throwIfAborted();
      if (!hasMail()) await wait(heartbeatMs);
      if (intervalMs > 0) await rest();
      signal.throwIfAborted();
      if (!hasMail()) return { kind: "heartbeat" };
      takenMs = clock.monotonicMs();
      const taken = [...items.values()];
      items.clear();
      if (!hasOverflown) return { kind: "items", items: taken };
      hasOverflown = false;
      return { kind: "overflow" };
    },
  };
}
