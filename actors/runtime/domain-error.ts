/**
 * A refusal: the expected, business kind of "no". It undoes the handler's changes and effects, and the request that it
 * answers remembers it. Reason and metadata are the contract, the message is for people.
 */
export class DomainError extends Error {
  override readonly name = "DomainError";
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;

  private constructor(reason: string, message: string, metadata: Readonly<Record<string, string>>) {
    super(message);
    this.reason = reason;
    this.metadata = metadata;
  }

  /** @param reason a name of `tradewind.common.v1.ErrorReason` without its prefix, such as `INVALID_TRANSITION`. */
  static of(reason: string, message: string, metadata: Readonly<Record<string, string>> = {}): DomainError {
    return new DomainError(reason, message, metadata);
  }
}
