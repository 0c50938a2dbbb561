import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { CallError, DomainError } from "../actors/runtime/index.ts";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  RequestInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "../proto/gen/google/rpc/error_details_pb.ts";
import type { ErrorReason } from "../proto/gen/tradewind/common/v1/error_pb.ts";

/** Name of a reason as clients see it in ErrorInfo. */
export type ReasonName = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

/** `domain` of every ErrorInfo. */
export const ERROR_DOMAIN = "tradewind";

/** Sent with `unavailable` and `resource_exhausted` when nobody knows better. */
const RETRY_AFTER_MS_DEFAULT = 1_000;

/** The one place where a reason becomes a wire code. A reason without a row does not compile. */
export const codeByReason = {
  VALIDATION: Code.InvalidArgument,
  NOT_FOUND: Code.NotFound,
  ALREADY_EXISTS: Code.AlreadyExists,
  ETAG_MISMATCH: Code.Aborted,
  OUT_OF_STOCK: Code.FailedPrecondition,
  PRICE_CHANGED: Code.FailedPrecondition,
  INVALID_TRANSITION: Code.FailedPrecondition,
  IDEMPOTENCY_KEY_REUSED: Code.FailedPrecondition,
  QUOTA_EXCEEDED: Code.ResourceExhausted,
  TENANT_MISMATCH: Code.PermissionDenied,
  OVERLOADED: Code.ResourceExhausted,
  PAYMENT_IN_PROGRESS: Code.FailedPrecondition,
  PAYMENT_DECLINED: Code.FailedPrecondition,
  REFUND_EXCEEDS_CAPTURED: Code.FailedPrecondition,
  PRODUCT_ARCHIVED: Code.FailedPrecondition,
  CURRENCY_MISMATCH: Code.FailedPrecondition,
  AMOUNT_OUT_OF_RANGE: Code.InvalidArgument,
  PAGE_TOKEN_INVALID: Code.InvalidArgument,
  CURSOR_INVALID: Code.InvalidArgument,
  UNAUTHENTICATED: Code.Unauthenticated,
  PERMISSION_DENIED: Code.PermissionDenied,
  REQUEST_TOO_LARGE: Code.ResourceExhausted,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  UNAVAILABLE: Code.Unavailable,
  DRAINING: Code.Unavailable,
  INTERNAL: Code.Internal,
  UNIMPLEMENTED: Code.Unimplemented,
  CANCELED: Code.Canceled,
  SKU_TAKEN: Code.AlreadyExists,
  INSUFFICIENT_STOCK: Code.FailedPrecondition,
  LIMIT_EXCEEDED: Code.ResourceExhausted,
} as const satisfies Record<ReasonName, Code>;

/** Reason of errors that the Connect library makes by itself. */
const reasonByCode: Readonly<Record<Code, ReasonName>> = {
  [Code.Canceled]: "CANCELED",
  [Code.Unknown]: "INTERNAL",
  [Code.InvalidArgument]: "VALIDATION",
  [Code.DeadlineExceeded]: "DEADLINE_EXCEEDED",
  [Code.NotFound]: "NOT_FOUND",
  [Code.AlreadyExists]: "ALREADY_EXISTS",
  [Code.PermissionDenied]: "PERMISSION_DENIED",
  [Code.ResourceExhausted]: "REQUEST_TOO_LARGE",
  [Code.FailedPrecondition]: "INVALID_TRANSITION",
  [Code.Aborted]: "UNAVAILABLE",
  [Code.OutOfRange]: "VALIDATION",
  [Code.Unimplemented]: "UNIMPLEMENTED",
  [Code.Internal]: "INTERNAL",
  [Code.Unavailable]: "UNAVAILABLE",
  [Code.DataLoss]: "INTERNAL",
  [Code.Unauthenticated]: "UNAUTHENTICATED",
};

/** One field that breaks a rule; `field` is its path as the proto spells it, such as `lines[0].quantity`. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
  /** Id of the rule, such as `string.pattern`. */
  readonly rule: string;
}

/** What goes with an error besides its reason. */
export interface EdgeErrorOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly FieldViolation[];
  readonly retryAfterMs?: number;
  /** With NOT_FOUND: what is missing. */
  readonly resource?: { readonly type: string; readonly name: string };
  readonly requestId?: string;
  /** Logged, never sent. */
  readonly cause?: unknown;
}

type Detail = { desc: DescMessage; value: MessageInitShape<DescMessage> };

function detail<D extends DescMessage>(desc: D, value: MessageInitShape<D>): Detail {
  return { desc, value: value as MessageInitShape<DescMessage> };
}

/** An error as every protocol sends it: code of the table, ErrorInfo, and the typed detail that fits the code. */
export function edgeError(reason: ReasonName, message: string, options: EdgeErrorOptions = {}): ConnectError {
  const { metadata = {}, violations = [], resource, requestId, cause } = options;
  const code = codeByReason[reason];
  const details = [detail(ErrorInfoSchema, { reason, domain: ERROR_DOMAIN, metadata: { ...metadata } })];
  const headers: Record<string, string> = {};
  if (violations.length > 0) {
    const fieldViolations = violations.map(({ field, description, rule }) => ({
      field,
      description,
      reason: rule,
    }));
    details.push(detail(BadRequestSchema, { fieldViolations }));
  }
  if (code === Code.FailedPrecondition) {
    const subject = metadata["subject"] ?? metadata["product_id"] ?? metadata["order_id"] ?? "";
    details.push(
      detail(PreconditionFailureSchema, { violations: [{ type: reason, subject, description: message }] }),
    );
  }
  if (resource !== undefined) {
    details.push(detail(ResourceInfoSchema, { resourceType: resource.type, resourceName: resource.name }));
  }
  const retryAfterMs = retryAfterOf(reason, options);
  if (retryAfterMs !== undefined) {
    const retryDelay = {
      seconds: BigInt(Math.floor(retryAfterMs / 1_000)),
      nanos: (retryAfterMs % 1_000) * 1_000_000,
    };
    details.push(detail(RetryInfoSchema, { retryDelay }));
    headers["retry-after"] = String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
  }
  if (requestId !== undefined) details.push(detail(RequestInfoSchema, { requestId }));
  return new ConnectError(message, code, headers, details, cause);
}

/** A single field that breaks a rule which protovalidate cannot see. */
export function fieldError(field: string, description: string, rule: string): ConnectError {
  return edgeError("VALIDATION", `${field}: ${description}`, { violations: [{ field, description, rule }] });
}

/** There is no such thing for this tenant. */
export function notFound(type: string, name: string): ConnectError {
  return edgeError("NOT_FOUND", `there is no ${type} ${name}`, { resource: { type, name } });
}

function retryAfterOf(reason: ReasonName, { retryAfterMs }: EdgeErrorOptions): number | undefined {
  const code = codeByReason[reason];
  const isWorthRetrying = code === Code.Unavailable || reason === "OVERLOADED" || reason === "QUOTA_EXCEEDED";
  return isWorthRetrying ? Math.max(1, Math.round(retryAfterMs ?? RETRY_AFTER_MS_DEFAULT)) : undefined;
}

/** Whether the actors may name this reason. */
export function isReasonName(reason: string): reason is ReasonName {
  return Object.hasOwn(codeByReason, reason);
}

/**
 * Turns whatever a handler threw into the error that the client sees. Refusals keep their reason; anything that is not
 * known becomes `internal` without its text, which stays in `cause` for the log.
 */
export function toEdgeError(thrown: unknown, requestId: string): ConnectError {
  if (thrown instanceof ConnectError) return withInfo(thrown, requestId);
  if (thrown instanceof DomainError) return fromRefusal(thrown, requestId);
  if (thrown instanceof CallError) return fromCallError(thrown, requestId);
  return internalError(thrown, requestId);
}

function withInfo(error: ConnectError, requestId: string): ConnectError {
  if (error.details.some((found) => "desc" in found && found.desc.typeName === ErrorInfoSchema.typeName))
    return error;
  if (error.code === Code.Internal || error.code === Code.Unknown) return internalError(error, requestId);
  return edgeError(reasonByCode[error.code], error.rawMessage, { cause: error });
}

function fromRefusal({ reason, message, metadata, ...rest }: DomainError, requestId: string): ConnectError {
  if (!isReasonName(reason)) {
    return internalError(
      new Error(`refusal with the unknown reason ${reason}: ${message}`, { cause: rest }),
      requestId,
    );
  }
  const { resource: type, id: name } = metadata;
  const resource =
    reason === "NOT_FOUND" && type !== undefined && name !== undefined ? { resource: { type, name } } : {};
  const { field } = metadata;
  const violations = field === undefined ? [] : [{ field, description: message, rule: reason.toLowerCase() }];
  return edgeError(reason, message, { metadata, violations, ...resource });
}

function fromCallError(error: CallError, requestId: string): ConnectError {
  const retry = error.retryAfterMs > 0 ? { retryAfterMs: error.retryAfterMs } : {};
  switch (error.kind) {
    case "timeout":
      return edgeError("DEADLINE_EXCEEDED", `${error.message}; repeat it with the same request id`, {
        cause: error,
      });
    case "overloaded":
      return edgeError("OVERLOADED", error.message, { ...retry, cause: error });
    case "unavailable":
      return edgeError("UNAVAILABLE", error.message, { ...retry, cause: error });
    case "defect":
      return internalError(error, requestId);
  }
}

function internalError(cause: unknown, requestId: string): ConnectError {
  return edgeError("INTERNAL", "internal error", { metadata: { request_id: requestId }, requestId, cause });
}
