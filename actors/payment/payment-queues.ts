import {
  ProviderCallSchema,
  ProviderResultSchema,
} from "../../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { defineTaskQueue } from "../runtime/index.ts";

const contract = { input: ProviderCallSchema, output: ProviderResultSchema };

/** Authorisations: a customer waits, so they are given up after seconds and voided. */
export const authorizeQueue = defineTaskQueue({
  name: "payment",
  ...contract,
  retry: { attemptsMax: 5, delayMsMin: 200, delayMsMax: 2_000, timeoutMs: 3_000, deadlineMs: Infinity },
});

/**
 * Captures of confirmed orders: tried for about two minutes before the order is undone, every few seconds, for a
 * customer may wait and most outages are short; the circuit keeps a provider that is away from being asked by all.
 */
export const captureQueue = defineTaskQueue({
  name: "payment_capture",
  ...contract,
  retry: { attemptsMax: 30, delayMsMin: 200, delayMsMax: 5_000, timeoutMs: 5_000, deadlineMs: Infinity },
});

/** Voids and refunds: money that is not ours is given back, however long it takes. */
export const undoQueue = defineTaskQueue({
  name: "payment_undo",
  ...contract,
  retry: {
    attemptsMax: Infinity,
    delayMsMin: 500,
    delayMsMax: 60_000,
    timeoutMs: 10_000,
    deadlineMs: Infinity,
  },
});
