/** Code of a declined void: the money was captured before, it has to be refunded. */
export const ALREADY_CAPTURED = "already_captured";

/** A definite answer of the provider. */
export type ProviderAnswer =
  | {
      readonly status: "approved";
      /** The provider's name of the operation. */
      readonly ref: string;
      /** Of an authorisation: when it runs out, in ms since 1970; 0 if it does not say. */
      readonly expiresMs: number;
    }
  | {
      readonly status: "declined";
      /** The provider's code, such as `card_declined`. */
      readonly code: string;
      /** The provider's words; for people. */
      readonly text: string;
    };

/** What every call carries. */
export interface ProviderRequest {
  /** Idempotency key: the same key has the same effect and answer, once, however often it is sent. */
  readonly key: string;
  /** Minor units. */
  readonly amount: bigint;
  /** ISO 4217 code. */
  readonly currency: string;
}

export interface AuthorizeRequest extends ProviderRequest {
  /** Token of a payment method; never card data. */
  readonly methodToken: string;
}

export interface FollowUpRequest extends ProviderRequest {
  /** Key of the authorisation that is meant. */
  readonly authorizationKey: string;
}

/**
 * A payment provider. A call resolves with a definite answer only; whatever leaves the outcome open (timeout,
 * unreachable, garbage, server error) is thrown, and the caller repeats it with the same key or asks by {@link query}.
 */
export interface PaymentProvider {
  authorize(request: AuthorizeRequest, signal: AbortSignal): Promise<ProviderAnswer>;
  capture(request: FollowUpRequest, signal: AbortSignal): Promise<ProviderAnswer>;
  /**
   * Gives an authorisation back. For a key that was never seen it is approved too, and an authorisation that comes
   * later under that key is declined. Declined with {@link ALREADY_CAPTURED} when it is too late.
   */
  void(request: FollowUpRequest, signal: AbortSignal): Promise<ProviderAnswer>;
  refund(request: FollowUpRequest, signal: AbortSignal): Promise<ProviderAnswer>;
  /** The answer that was given under an idempotency key; undefined: the key is not known, nothing has happened. */
  query(key: string, signal: AbortSignal): Promise<ProviderAnswer | undefined>;
}
