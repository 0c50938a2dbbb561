import {
  type DescEnum,
  type DescField,
  type DescMessage,
  getOption,
  hasOption,
  isFieldSet,
  type Message,
} from "@bufbuild/protobuf";
import { type Duration, FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import {
  DurationRulesSchema,
  EnumRulesSchema,
  type FieldRules,
  FieldRulesSchema,
  field as fieldOption,
  Ignore,
  MapRulesSchema,
  message as messageOption,
  oneof as oneofOption,
  Int32RulesSchema,
  Int64RulesSchema,
  RepeatedRulesSchema,
  type StringRules,
  StringRulesSchema,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

/**
 * True if a value keeps its rules for certain. False says nothing: ask protovalidate, which also knows what to say of a
 * value that does not.
 */
export type QuickCheck = (value: unknown) => boolean;

/** As protobuf defines it. */
const DURATION_SECONDS_MAX = 315_576_000_000n;

/** A kind of rule that this check does not know: the message is protovalidate's alone. */
const UNKNOWN = new Error("a rule that the quick check does not know");

/**
 * A check of the rules of a message, a small part of what protovalidate needs, which runs some of them as programs of
 * CEL. Undefined if the message, or one that it may hold, has rules of a kind that this does not know.
 */
export function quickCheck(schema: DescMessage): QuickCheck | undefined {
  try {
    return messageCheck(schema, []);
  } catch (error) {
    if (error === UNKNOWN) return undefined;
    throw error;
  }
}

function messageCheck(schema: DescMessage, within: readonly DescMessage[]): QuickCheck {
  const isPlain =
    !hasOption(schema, messageOption) && !schema.oneofs.some((it) => hasOption(it, oneofOption));
  if (!isPlain || within.includes(schema)) throw UNKNOWN;
  const checks = schema.fields.flatMap((field) => fieldCheck(field, [...within, schema]) ?? []);
  return (message) => checks.every((check) => check(message));
}

/** A check of the message that has the field; undefined if every value will do. */
function fieldCheck(field: DescField, within: readonly DescMessage[]): QuickCheck | undefined {
  const rules = getOption(field, fieldOption);
  const check = valueCheck(field, rules, within);
  if (check === undefined) return undefined;
  const { localName, oneof } = field;
  const isSkipped = rules.ignore === Ignore.IF_ZERO_VALUE;
  if (oneof !== undefined) {
    if (isSkipped) throw UNKNOWN;
    return (message) => {
      const group = (message as Record<string, { case?: string; value?: unknown }>)[oneof.localName];
      return group?.case !== localName || check(group.value);
    };
  }
  const isImplicit = field.presence === FeatureSet_FieldPresence.IMPLICIT;
  return (message) => {
    const value = (message as Record<string, unknown>)[localName];
    if (value === undefined) return !isImplicit;
    return (isSkipped && isZero(value)) || check(value);
  };
}

function isZero(value: unknown): boolean {
  return value === "" || value === 0 || value === 0n;
}

function valueCheck(
  field: DescField,
  rules: FieldRules,
  within: readonly DescMessage[],
): QuickCheck | undefined {
  const type = typeOf(rules);
  if (field.fieldKind === "list") return listCheck(field, type, within);
  if (field.fieldKind === "map") return mapCheck(field, type);
  return all(ruleCheck(type, field.enum), itemCheck(field.message, within));
}

/** The rules of the field's type. @throws where there are others with them */
function typeOf(rules: FieldRules): FieldRules["type"] {
  const { case: name } = rules.type;
  const isKnown = FieldRulesSchema.fields.every(
    (field) => !isFieldSet(rules, field) || field.name === "ignore" || field.localName === name,
  );
  if (!isKnown || rules.$unknown !== undefined || rules.ignore === Ignore.ALWAYS) throw UNKNOWN;
  return rules.type;
}

/** Messages that hold nothing with rules need no check. */
function itemCheck(schema: DescMessage | undefined, within: readonly DescMessage[]): QuickCheck | undefined {
  if (schema === undefined || schema.file.proto.package === "google.protobuf") return undefined;
  return messageCheck(schema, within);
}

function all(...checks: readonly (QuickCheck | undefined)[]): QuickCheck | undefined {
  const [first, second, ...rest] = checks.filter((check) => check !== undefined);
  if (first === undefined || second === undefined) return first;
  return (value) => first(value) && second(value) && rest.every((check) => check(value));
}

function listCheck(
  { enum: desc, message }: DescField,
  type: FieldRules["type"],
  within: readonly DescMessage[],
): QuickCheck | undefined {
  const ofMessage = itemCheck(message, within);
  const each = (check: QuickCheck | undefined): QuickCheck | undefined =>
    check && ((items) => (items as unknown[]).every(check));
  if (type.case === undefined) return each(ofMessage);
  if (type.case !== "repeated") throw UNKNOWN;
  const rules = only(RepeatedRulesSchema, type.value, ["min_items", "max_items", "unique", "items"]);
  if (rules.unique && message !== undefined) throw UNKNOWN;
  const isSize = sizeCheck(
    rules.minItems,
    rules.maxItems,
    isFieldSet(rules, RepeatedRulesSchema.field.maxItems),
  );
  const ofList: QuickCheck = (value) => {
    const items = value as unknown[];
    return isSize(items.length) && (!rules.unique || new Set(items).size === items.length);
  };
  return all(ofList, each(all(nested(rules.items, desc), ofMessage)));
}

function mapCheck({ enum: desc, message }: DescField, type: FieldRules["type"]): QuickCheck | undefined {
  if (message !== undefined) throw UNKNOWN;
  if (type.case === undefined) return undefined;
  if (type.case !== "map") throw UNKNOWN;
  const rules = only(MapRulesSchema, type.value, ["min_pairs", "max_pairs", "keys", "values"]);
  const isSize = sizeCheck(rules.minPairs, rules.maxPairs, isFieldSet(rules, MapRulesSchema.field.maxPairs));
  const ofKey = nested(rules.keys, undefined);
  const ofValue = nested(rules.values, desc);
  return (value) => {
    const entries = Object.entries(value as object);
    return (
      isSize(entries.length) &&
      entries.every(([key, held]) => ofKey?.(key) !== false && ofValue?.(held) !== false)
    );
  };
}

function sizeCheck(min: bigint, max: bigint, hasMax: boolean): (size: number) => boolean {
  const least = Number(min);
  const most = hasMax ? Number(max) : Infinity;
  return (size) => size >= least && size <= most;
}

function nested(rules: FieldRules | undefined, desc: DescEnum | undefined): QuickCheck | undefined {
  if (rules === undefined) return undefined;
  if (rules.ignore !== Ignore.UNSPECIFIED) throw UNKNOWN;
  return ruleCheck(typeOf(rules), desc);
}

/** @throws if rules are set that are not named */
function only<M extends Message>(schema: DescMessage, rules: M, names: readonly string[]): M {
  const isKnown = schema.fields.every((field) => !isFieldSet(rules, field) || names.includes(field.name));
  if (!isKnown || rules.$unknown !== undefined) throw UNKNOWN;
  return rules;
}

function ruleCheck(type: FieldRules["type"], desc: DescEnum | undefined): QuickCheck | undefined {
  switch (type.case) {
    case undefined:
      return undefined;
    case "string":
      return textCheck(type.value);
    case "int32":
      return rangeCheck(only(Int32RulesSchema, type.value, ["gte", "lte"]), (value: number) => value);
    case "int64":
      return rangeCheck(only(Int64RulesSchema, type.value, ["gte", "lte"]), (value: bigint) => value);
    case "duration":
      return rangeCheck(only(DurationRulesSchema, type.value, ["gte", "lte"]), nanosOf);
    case "enum": {
      const rules = only(EnumRulesSchema, type.value, ["defined_only"]);
      const numbers = new Set<unknown>(desc?.values.map(({ number }) => number));
      return rules.definedOnly ? (value) => numbers.has(value) : undefined;
    }
    default:
      throw UNKNOWN;
  }
}

/** Lengths are counted in UTF-16 units, which are never fewer than the characters that the rules count. */
function textCheck(given: StringRules): QuickCheck {
  const rules = only(StringRulesSchema, given, ["pattern", "min_len", "max_len"]);
  const { minLen, maxLen, pattern } = rules;
  if (minLen > 1n) throw UNKNOWN;
  const isLength = sizeCheck(minLen, maxLen, isFieldSet(rules, StringRulesSchema.field.maxLen));
  const form = new RegExp(pattern, "u");
  return (value) => isLength((value as string).length) && form.test(value as string);
}

/** Not a number where it is no duration that everybody understands. */
function nanosOf({ seconds, nanos }: Duration): bigint | number {
  const isPlain = seconds >= 0n && seconds <= DURATION_SECONDS_MAX && nanos >= 0 && nanos < 1e9;
  return isPlain ? seconds * 1_000_000_000n + BigInt(nanos) : Number.NaN;
}

interface Range<T> {
  readonly greaterThan: { readonly case?: string | undefined; readonly value?: T | undefined };
  readonly lessThan: { readonly case?: string | undefined; readonly value?: T | undefined };
}

function rangeCheck<T>(
  { greaterThan, lessThan }: Range<T>,
  orderOf: (value: T) => number | bigint,
): QuickCheck {
  const least = greaterThan.value === undefined ? -Infinity : orderOf(greaterThan.value);
  const most = lessThan.value === undefined ? Infinity : orderOf(lessThan.value);
  // The rules mean what is outside where the least is above the most.
  if (least > most) throw UNKNOWN;
  return (value) => {
    const order = orderOf(value as T);
    return order >= least && order <= most;
  };
}
