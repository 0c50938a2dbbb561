import { sleep, systemClock } from "../platform/clock.ts";
import { ExitError } from "./exit-error.ts";
import { HttpPool, HttpPoolError } from "./http-pool.ts";

/** A refusal of the gateway. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly exitCode = 1;
  /** Connect code, such as `not_found`. */
  readonly code: string;
  /** Reason of the error table, such as `ETAG_MISMATCH`; empty without one. */
  readonly reason: string;

  constructor(code: string, reason: string, message: string) {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}

/** Calls rpcs of one gateway with plain JSON. */
export interface ApiClient {
  readonly url: string;
  /** @throws ApiError it was refused, ExitError there is no gateway */
  call<R>(path: string, request: object, idempotencyKey?: string): Promise<R>;
  close(): void;
}

const CONNECTIONS_MAX = 16;
const TIMEOUT_MS = 30_000;
/** How long a call is repeated while the system says "later": nats-server or a worker may just be starting again. */
const REPEAT_MS_MAX = 15_000;
const REPEAT_WAIT_MS = 200;
/** Nothing was accepted, or the call carries its idempotency key: it may be repeated. */
const REPEATABLE: ReadonlySet<string> = new Set(["unavailable", "resource_exhausted", "deadline_exceeded"]);

/** A client for the few calls that a command makes beside its load. */
export function createApiClient(url: string, timeoutMs = TIMEOUT_MS): ApiClient {
  const pool = new HttpPool({ url, connectionsMax: CONNECTIONS_MAX, timeoutMs });
  const once = async <R>(path: string, request: object, idempotencyKey: string | undefined) => {
    const { status, body } = await pool
      .post(path, JSON.stringify(request), idempotencyKey)
      .catch((error: unknown) => {
        throw error instanceof HttpPoolError ? unreachable(url, error) : error;
      });
    if (status === 200) return JSON.parse(body) as R;
    throw apiError(status, body);
  };
  return {
    url,
    call: async <R>(path: string, request: object, idempotencyKey?: string) => {
      const giveUpMs = systemClock.monotonicMs() + REPEAT_MS_MAX;
      for (;;) {
        try {
          return await once<R>(path, request, idempotencyKey);
        } catch (error) {
          const isLater = error instanceof ApiError && REPEATABLE.has(error.code);
          if (!isLater || systemClock.monotonicMs() > giveUpMs) throw error;
          await sleep(systemClock, REPEAT_WAIT_MS);
        }
      }
    },
    close: () => pool.close(),
  };
}

function unreachable(url: string, { code }: HttpPoolError): ExitError {
  return new ExitError(
    `no gateway answers at ${url} (${code}): start one with npm start, or name another with --url`,
    69,
  );
}

interface ErrorBody {
  readonly code?: string;
  readonly message?: string;
  readonly details?: readonly {
    readonly debug?: { readonly reason?: string; readonly fieldViolations?: unknown[] };
  }[];
}

function apiError(status: number, body: string): ApiError {
  let parsed: ErrorBody = {};
  try {
    parsed = JSON.parse(body) as ErrorBody;
  } catch {
    // a proxy answers in its own way
  }
  const { code = `http_${status}`, message = body.slice(0, 300), details = [] } = parsed;
  const reason = details.find(({ debug }) => debug?.reason !== undefined)?.debug?.reason ?? "";
  const fields = details.flatMap(({ debug }) => debug?.fieldViolations ?? []) as {
    field?: string;
    description?: string;
  }[];
  const named = fields.map(({ field, description }) => `${field}: ${description}`).join("; ");
  return new ApiError(
    code,
    reason.replace(/^ERROR_REASON_/, ""),
    named === "" ? message : `${message} (${named})`,
  );
}
