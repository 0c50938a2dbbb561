/** What holds where a tenant says nothing. */
export const DEFAULT_SETTINGS = Object.freeze({
  defaultCurrency: "EUR",
  timeZone: "UTC",
  /** How long an order may be PENDING. */
  pendingDeadlineMs: 30_000n,
  /** How long stock is held without a payment under way. */
  reservationTtlMs: 600_000n,
  /** How long an order waits for its payment. */
  paymentDeadlineMs: 900_000n,
  /** Attempts of an order that is paid by PayOrder. */
  paymentAttemptsMax: 5,
  /** Attempts of an order that brings its payment with it: one, so that a decline gives the stock back at once. */
  directPaymentAttemptsMax: 1,
  autoCapture: true,
});
