import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { ListOrdersRequestSchema } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { ListProductsRequestSchema } from "../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import { decodePageToken, encodePageToken } from "./page-token.ts";

const position = { createdMs: 1_700_000_000_123, id: "ord_1" };
const request = create(ListOrdersRequestSchema, { filter: { customerId: "c-1" }, pageSize: 10 });
const token = encodePageToken(ListOrdersRequestSchema, request, position);

it("goes on where the page before ended, whatever the size of the next page", () => {
  const next = create(ListOrdersRequestSchema, {
    filter: { customerId: "c-1" },
    pageSize: 20,
    pageToken: token,
  });
  expect(decodePageToken(ListOrdersRequestSchema, next)).toEqual(position);
  expect(encodePageToken(ListOrdersRequestSchema, request, undefined)).toBe("");
  expect(decodePageToken(ListOrdersRequestSchema, request)).toBeUndefined();
});

it("refuses a token of other filters, of another list, or made up", () => {
  const other = create(ListOrdersRequestSchema, { filter: { customerId: "c-2" }, pageToken: token });
  expect(() => decodePageToken(ListOrdersRequestSchema, other)).toThrow(/start without one/);
  const products = create(ListProductsRequestSchema, { pageToken: token });
  expect(() => decodePageToken(ListProductsRequestSchema, products)).toThrow(/start without one/);
  const madeUp = create(ListOrdersRequestSchema, { filter: { customerId: "c-1" }, pageToken: "abc" });
  expect(() => decodePageToken(ListOrdersRequestSchema, madeUp)).toThrow(/start without one/);
});
