import { hash } from "node:crypto";
import { clone, type DescMessage, type MessageShape, toJson } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import type { HandlerContext } from "@connectrpc/connect";
import { type JsonForm, writeJson } from "../actors/runtime/index.ts";
import type { Random } from "../platform/random.ts";
import { scopeOf } from "./call-scope.ts";
import { fieldError } from "./connect-errors.ts";

/** A write with its identity: the same caller, method and key address the same actor. */
export interface WriteIdentity {
  /** Goes with the command, so that its actor knows the repeat among the requests of other methods and callers. */
  readonly requestId: string;
  /** SHA-256 of the canonical request: another one under the same key is refused. */
  readonly fingerprint: Uint8Array;
  /** Key for an actor of this write, `<prefix>_<26 characters>`. */
  readonly actorKey: (prefix: string) => string;
  /** Whether the caller named the key; one made by the server cannot have been used before. */
  readonly isGiven: boolean;
}

/** A request with an idempotency key in it. */
type WriteRequest<D extends DescMessage> = MessageShape<D> & { readonly requestId: string };

export const IDEMPOTENCY_HEADER = "idempotency-key";
/** Set on the answer of a write that had been answered before. */
export const REPLAYED_HEADER = "idempotent-replayed";

const KEY_FORM = /^[ -~]{1,255}$/;
const BASE32 = "0123456789abcdefghjkmnpqrstvwxyz";
const KEY_CHARACTERS = 26;
const NO_FINGERPRINT = new Uint8Array(32);

/** What a fingerprint is made of: all but some fields. To be made once for all requests. */
export function fingerprintForm(without: readonly string[]): JsonForm {
  return { kind: "canonical", without };
}

/** Form for {@link identifyWrite}: the key, and fields that say how to answer, are no part of a request's identity. */
export function writeForm(...neutral: readonly string[]): JsonForm {
  return fingerprintForm(["request_id", ...neutral]);
}

const WRITE_FORM = writeForm();

/**
 * Reads header `Idempotency-Key` or field `request_id`, or makes a key. The scope is tenant, principal and method.
 * @param form of the fingerprint, without fields that say how to answer and not what to do, such as `wait`
 * @throws ConnectError VALIDATION when the header has a bad form or differs from the field
 */
export function identifyWrite<D extends DescMessage>(
  schema: D,
  request: WriteRequest<D>,
  context: HandlerContext,
  random: Random,
  form: JsonForm = WRITE_FORM,
): WriteIdentity {
  const given = givenKey(request.requestId, context.requestHeader.get(IDEMPOTENCY_HEADER));
  const { tenant, principal } = scopeOf(context);
  const scope = [tenant, principal, `${context.service.typeName}/${context.method.name}`, given];
  const digest = given === undefined ? undefined : sha256(scope.join("\0"));
  const id = digest === undefined ? random.id() : base32(digest);
  return {
    requestId: id,
    // A key that the server has just made meets no other request.
    fingerprint: digest === undefined ? NO_FINGERPRINT : fingerprint(schema, request, form),
    actorKey: (prefix) => `${prefix}_${id}`,
    isGiven: given !== undefined,
  };
}

function givenKey(field: string, header: string | null): string | undefined {
  if (header !== null && !KEY_FORM.test(header)) {
    throw fieldError(
      IDEMPOTENCY_HEADER,
      "must have 1 to 255 printable ASCII characters",
      "idempotency_key.form",
    );
  }
  if (header !== null && field !== "" && header !== field) {
    throw fieldError("request_id", "differs from the header Idempotency-Key", "idempotency_key.differs");
  }
  return header ?? (field === "" ? undefined : field);
}

/** SHA-256 of the request as JSON with its keys sorted, without some fields: the same for every protocol. */
export function fingerprint<D extends DescMessage>(
  schema: D,
  request: MessageShape<D>,
  form: JsonForm,
): Uint8Array {
  const json = writeJson(schema, request, form) ?? canonical(without(schema, request, form.without));
  return sha256(json);
}

/** By way of a string: a digest that comes as a buffer has memory of its own, which costs more than the digest. */
function sha256(text: string): Uint8Array {
  return Buffer.from(hash("sha256", text, "binary"), "binary");
}

/** JSON of a request that generated code does not write. */
function without<D extends DescMessage>(schema: D, request: MessageShape<D>, names: readonly string[]) {
  const copy = clone(schema, request);
  const view = reflect(schema, copy);
  for (const field of schema.fields) if (names.includes(field.name)) view.clear(field);
  return toJson(schema, copy);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`).join(",")}}`;
}

/** 130 bits: as many as a random UUID, in characters that a key may have. */
function base32(digest: Uint8Array): string {
  let text = "";
  let bits = 0;
  let held = 0;
  for (const byte of digest) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5 && text.length < KEY_CHARACTERS) {
      bits -= 5;
      text += BASE32.charAt((held >> bits) & 31);
    }
    held &= (1 << bits) - 1;
  }
  return text;
}

/** Tells the caller that this answer is a repeat. */
export function markReplayed(context: HandlerContext, replayed: boolean): void {
  if (replayed) context.responseHeader.set(REPLAYED_HEADER, "true");
}
