import {
  type DescEnum,
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { fieldError } from "./connect-errors.ts";

/**
 * Makes a request message of URL parameters. A name is a path of fields as the proto or its JSON spells them
 * (`filter.customer_id`, `filter.customerId`); a repeated field takes several parameters, or one with commas. Enum
 * values may leave out the prefix of their enum.
 * @throws ConnectError VALIDATION naming the parameter
 */
export function messageFromQuery(
  schema: DescMessage,
  parameters: Iterable<readonly [string, string]>,
): Message {
  const json: JsonObject = {};
  for (const [name, value] of parameters) setField(json, schema, name.split("."), value, name);
  try {
    return fromJson(schema, json);
  } catch (error) {
    throw fieldError("query", error instanceof Error ? error.message : String(error), "query");
  }
}

function setField(
  target: JsonObject,
  schema: DescMessage,
  path: readonly string[],
  value: string,
  name: string,
): void {
  const [head = "", ...rest] = path;
  const field = schema.fields.find((candidate) => candidate.name === head || candidate.jsonName === head);
  if (field === undefined) throw fieldError(name, `${schema.typeName} has no such field`, "query.unknown");
  const key = field.jsonName;
  if (rest.length > 0) {
    if (field.fieldKind !== "message") throw fieldError(name, `${head} has no fields`, "query.unknown");
    const inner = (target[key] ?? {}) as JsonObject;
    target[key] = inner;
    setField(inner, field.message, rest, value, name);
    return;
  }
  if (field.fieldKind === "list") {
    const before = (target[key] ?? []) as JsonValue[];
    target[key] = [...before, ...value.split(",").map((part) => single(field, part, name))];
    return;
  }
  target[key] = single(field, value, name);
}

function single(field: DescField, value: string, name: string): JsonValue {
  if (field.enum !== undefined) return enumName(field.enum, value);
  if (field.fieldKind === "map") throw fieldError(name, "maps cannot be given in a URL", "query.unknown");
  if (field.scalar !== ScalarType.BOOL) return value;
  if (value === "true" || value === "1" || value === "") return true;
  if (value === "false" || value === "0") return false;
  throw fieldError(name, `must be true or false, not ${value}`, "query.bool");
}

function enumName(desc: DescEnum, value: string): string {
  const prefixed = `${desc.sharedPrefix ?? ""}${value}`.toUpperCase();
  return desc.values.some((candidate) => candidate.name === prefixed) ? prefixed : value;
}
