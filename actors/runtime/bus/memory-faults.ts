import type { Random } from "../../../platform/random.ts";

/** One request of a connection, before it leaves. */
export interface MemoryOperation {
  readonly connection: string;
  readonly kind:
    | "append"
    | "batch"
    | "last"
    | "get"
    | "lastMany"
    | "range"
    | "subjects"
    | "status"
    | "purge"
    | "publish"
    | "request"
    | "ack";
  /** Stream of a read, subject of a write. */
  readonly target: string;
}

/** What the network and the server do to a request. All fields absent: answered at once. */
export interface MemoryFate {
  /** Way to the server; requests of one connection arrive in order. */
  readonly requestDelayMs?: number;
  readonly replyDelayMs?: number;
  /** Never arrives: the caller hears nothing until its timeout. */
  readonly isRequestLost?: boolean;
  /** Takes effect, but the caller hears nothing until its timeout. */
  readonly isReplyLost?: boolean;
  /** Takes another way: arrives so much later, out of order, and its reply is lost. */
  readonly lateMs?: number;
  /** An append is answered `unknown` at once and not stored (10164, 10158, no responders). */
  readonly isInFlight?: boolean;
  /** A request is answered that nobody listens, though somebody does. */
  readonly isUnheard?: boolean;
}

/** What happens on the way from the server to one reader, durable consumer or core subscription. */
export interface MemoryDelivery {
  readonly connection: string;
  readonly kind: "reader" | "pull" | "core";
  /** Stream, or subject of a core message. */
  readonly target: string;
}

export interface MemoryDeliveryFate {
  readonly delayMs?: number;
  /** Readers and durables: the consumer is gone and made again after so long. Core messages: lost. */
  readonly resetMs?: number;
}

/** Decides every fault of a MemoryNats. Called in a deterministic order. */
export interface MemoryFaults {
  operation(operation: MemoryOperation): MemoryFate | undefined;
  delivery(delivery: MemoryDelivery): MemoryDeliveryFate | undefined;
  /** A multi-get may be answered by a follower that is so many changes behind; Infinity: one that has nothing. */
  staleChanges(connection: string, stream: string): number;
  /** A schedule that fired fires again after so long. */
  firesAgainAfterMs(subject: string): number | undefined;
}

/** Nothing goes wrong and nothing takes time. */
export const noFaults: MemoryFaults = Object.freeze({
  operation: () => undefined,
  delivery: () => undefined,
  staleChanges: () => 0,
  firesAgainAfterMs: () => undefined,
});

/** Rates are chances between 0 and 1 for each operation or delivery. */
export interface FaultRates {
  /** Every way takes a uniform time up to this. */
  readonly delayMsMax?: number;
  /** Some ways take up to `slowMsMax` instead. */
  readonly slowRate?: number;
  readonly slowMsMax?: number;
  readonly lostRequestRate?: number;
  readonly lostReplyRate?: number;
  readonly lateRate?: number;
  readonly lateMsMax?: number;
  readonly inFlightRate?: number;
  readonly staleRate?: number;
  readonly staleChangesMax?: number;
  readonly doubleFireRate?: number;
  readonly resetRate?: number;
  readonly resetMsMax?: number;
  /** Core messages and requests. */
  readonly coreLostRate?: number;
  readonly unheardRate?: number;
}

/** Faults by chance: the same seed and the same calls give the same faults. */
export function randomFaults(random: Random, rates: FaultRates): MemoryFaults {
  const { delayMsMax = 2, slowRate = 0, slowMsMax = 0, staleRate = 0, staleChangesMax = 8 } = rates;
  const { lateRate = 0, lateMsMax = 5_000, resetRate = 0, resetMsMax = 500 } = rates;
  const hits = (rate = 0) => rate > 0 && random.float() < rate;
  const wayMs = () => Math.ceil(random.float() * (hits(slowRate) ? slowMsMax : delayMsMax));
  return {
    operation: ({ kind }) => {
      const requestDelayMs = wayMs();
      const replyDelayMs = wayMs();
      if (kind === "publish")
        return { requestDelayMs, replyDelayMs, isRequestLost: hits(rates.coreLostRate) };
      if (kind === "request") {
        const isRequestLost = hits(rates.coreLostRate);
        return { requestDelayMs, replyDelayMs, isRequestLost, isUnheard: hits(rates.unheardRate) };
      }
      if (hits(rates.lostRequestRate)) return { requestDelayMs, replyDelayMs, isRequestLost: true };
      if (hits(rates.lostReplyRate)) return { requestDelayMs, replyDelayMs, isReplyLost: true };
      if (kind !== "append" && kind !== "batch") return { requestDelayMs, replyDelayMs };
      if (hits(lateRate)) return { lateMs: Math.ceil(random.float() * lateMsMax) };
      return { requestDelayMs, replyDelayMs, isInFlight: hits(rates.inFlightRate) };
    },
    delivery: ({ kind }) => {
      const isReset = hits(kind === "core" ? rates.coreLostRate : resetRate);
      const delayMs = wayMs();
      return isReset ? { delayMs, resetMs: Math.ceil(random.float() * resetMsMax) } : { delayMs };
    },
    staleChanges: () => {
      if (!hits(staleRate)) return 0;
      return hits(0.1) ? Infinity : Math.ceil(random.float() * staleChangesMax);
    },
    firesAgainAfterMs: () =>
      hits(rates.doubleFireRate) ? Math.ceil(random.float() * resetMsMax) : undefined,
  };
}
