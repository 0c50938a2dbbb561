import { createHash } from "node:crypto";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { edgeError } from "./connect-errors.ts";
import { fingerprint, fingerprintForm } from "./idempotency.ts";
import { GATEWAY_LIMITS } from "./limits.ts";

/** Where a list goes on: behind this entry. */
export interface ListPosition {
  readonly createdMs: number;
  readonly id: string;
}

type PagedRequest = { readonly pageSize: number; readonly pageToken: string };

const FILTER_CHARACTERS = 12;
const FILTER_FORM = fingerprintForm(["page_size", "page_token"]);

/** Number of entries that the caller wants. */
export function pageSizeOf({ pageSize }: PagedRequest): number {
  return pageSize === 0 ? GATEWAY_LIMITS.pageSizeDefault : pageSize;
}

/** A token that works only for the same list with the same filters. Opaque to callers; nothing in it is secret. */
export function encodePageToken<D extends DescMessage>(
  schema: D,
  request: MessageShape<D> & PagedRequest,
  position: ListPosition | undefined,
): string {
  if (position === undefined) return "";
  const parts = [filterOf(schema, request), position.createdMs, position.id];
  return Buffer.from(JSON.stringify(parts)).toString("base64url");
}

/** @throws ConnectError PAGE_TOKEN_INVALID when the token is of another list or of other filters */
export function decodePageToken<D extends DescMessage>(
  schema: D,
  request: MessageShape<D> & PagedRequest,
): ListPosition | undefined {
  if (request.pageToken === "") return undefined;
  const position = parse(request.pageToken, filterOf(schema, request));
  if (position !== undefined) return position;
  throw edgeError(
    "PAGE_TOKEN_INVALID",
    "page_token is not of this list with these filters; start without one",
    {
      violations: [
        { field: "page_token", description: "is not of this list with these filters", rule: "page_token" },
      ],
    },
  );
}

function parse(token: string, filter: string): ListPosition | undefined {
  try {
    const [tokenFilter, createdMs, id] = JSON.parse(
      Buffer.from(token, "base64url").toString("utf8"),
    ) as unknown[];
    if (tokenFilter !== filter || !Number.isSafeInteger(createdMs) || typeof id !== "string")
      return undefined;
    return { createdMs: createdMs as number, id };
  } catch {
    return undefined;
  }
}

function filterOf<D extends DescMessage>(schema: D, request: MessageShape<D>): string {
  const hash = createHash("sha256").update(schema.typeName);
  return hash
    .update(fingerprint(schema, request, FILTER_FORM))
    .digest("base64url")
    .slice(0, FILTER_CHARACTERS);
}
