import { create, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { AnyRulesSchema, FieldRulesSchema } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AnalyticsService } from "../../proto/gen/tradewind/analytics/v1/analytics_service_pb.ts";
import { CatalogService } from "../../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import { InventoryService } from "../../proto/gen/tradewind/inventory/v1/inventory_service_pb.ts";
import { OpsService } from "../../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import {
  OrderService,
  PlaceOrderRequestSchema,
  Wait,
} from "../../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { PaymentService } from "../../proto/gen/tradewind/payment/v1/payment_service_pb.ts";
import { quickCheck } from "./quick-check.ts";

/** Around the limits that rules have. */
const texts = fc.oneof(
  fc.constantFrom("", "a", "tea", "EUR", "eur", "a b", "\u{1f375}", "\n", "é"),
  fc.constantFrom(63, 64, 65, 255, 256, 512, 513).map((length) => "x".repeat(length)),
  fc.string({ maxLength: 5 }),
);
const numbers = fc.oneof(
  fc.constantFrom(-1, 0, 1, 24, 25, 26, 100, 101, 500, 501, 1e6, 1e6 + 1, 1e9, 1e9 + 1),
  fc.integer(),
);

function scalar(type: ScalarType | undefined): fc.Arbitrary<unknown> {
  if (type === ScalarType.STRING) return texts;
  if (type === ScalarType.BOOL) return fc.boolean();
  if (type === ScalarType.INT32) return numbers;
  if (type === ScalarType.INT64) return numbers.map(BigInt);
  return expect.fail(`no values of type ${type}`);
}

function valueOf(field: DescField): fc.Arbitrary<unknown> {
  const value = field.message
    ? initOf(field.message)
    : field.enum
      ? fc.constantFrom(0, 1, 2, 99)
      : scalar(field.scalar);
  if (field.fieldKind === "list")
    return fc.oneof(
      fc.array(value, { maxLength: 3 }),
      fc.tuple(value, fc.constantFrom(20, 21, 100, 101)).map(([one, count]) => Array(count).fill(one)),
    );
  return field.fieldKind === "map"
    ? fc.dictionary(texts, value, { maxKeys: 22, noNullPrototype: true })
    : value;
}

function initOf(schema: DescMessage): fc.Arbitrary<unknown> {
  const fields = schema.fields.filter(({ oneof }) => oneof === undefined);
  return fc.record(
    Object.fromEntries(fields.map((field) => [field.localName, valueOf(field)])) as Record<
      string,
      fc.Arbitrary<unknown>
    >,
    { requiredKeys: [] },
  );
}

const validator = createValidator();
const requests = [
  OrderService,
  PaymentService,
  CatalogService,
  InventoryService,
  AnalyticsService,
  OpsService,
]
  .flatMap(({ methods }) => methods)
  .flatMap(({ input }) => {
    const check = quickCheck(input);
    return check === undefined ? [] : [[input.typeName, input, check] as const];
  });

describe("the quick check", () => {
  it.each(requests)("lets no %s pass that protovalidate refuses", (_, schema, check) => {
    fc.assert(
      fc.property(initOf(schema), (init) => {
        const message = create(schema, init as never);
        const { kind } = validator.validate(schema, message);
        if (check(message)) expect(kind).toBe("valid");
      }),
      { numRuns: 150 },
    );
  });

  it("knows a usual order", () => {
    const order = {
      customerId: "ada",
      lines: [{ productId: "tea", quantity: 1 }],
      payment: { methodToken: "tok_ok" },
      wait: Wait.SETTLED,
      timeout: { seconds: 25n },
      metadata: { note: "x" },
    };
    const check = quickCheck(PlaceOrderRequestSchema) ?? expect.fail("no check");
    expect(check(create(PlaceOrderRequestSchema, order))).toBe(true);
    expect(check(create(PlaceOrderRequestSchema, { ...order, timeout: { seconds: 25n, nanos: 1 } }))).toBe(
      false,
    );
    expect(check(create(PlaceOrderRequestSchema, { ...order, lines: [] }))).toBe(false);
    expect(check(create(PlaceOrderRequestSchema, { ...order, wait: 9 as Wait }))).toBe(false);
  });

  it("leaves messages with other rules alone", () => {
    // The rules' own messages check themselves with expressions.
    expect(quickCheck(FieldRulesSchema)).toBeUndefined();
    expect(quickCheck(AnyRulesSchema)).toBeDefined();
  });
});
