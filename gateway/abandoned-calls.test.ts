import { once } from "node:events";
import { connect, constants } from "node:http2";
import { toBinary, create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, it } from "vitest";
import { PlaceOrderRequestSchema } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import { type Fixture, startFixture } from "./testing.ts";

let fixture: Fixture;
const defects: unknown[] = [];
const onDefect = (defect: unknown) => void defects.push(defect);
beforeEach(async () => {
  process.on("unhandledRejection", onDefect);
  fixture = await startFixture();
});
afterEach(async () => {
  await fixture.server.drain();
  process.off("unhandledRejection", onDefect);
  defects.length = 0;
});

const PLACE = "/tradewind.order.v1.OrderService/PlaceOrder";
const whole = toBinary(
  PlaceOrderRequestSchema,
  create(PlaceOrderRequestSchema, {
    customerId: "ada",
    lines: [
      { productId: "tea", quantity: 1 },
      { productId: "cup", quantity: 1 },
    ],
  }),
);

/** Sends the first bytes of a call and goes away without an end. */
async function abandon(bytes: Uint8Array): Promise<void> {
  const session = connect(fixture.server.url);
  const stream = session.request({ ":method": "POST", ":path": PLACE, "content-type": "application/proto" });
  stream.on("error", () => undefined);
  if (bytes.length > 0) stream.write(bytes);
  await new Promise((resolve) => session.ping(resolve)); // the server has what was sent
  stream.close(constants.NGHTTP2_CANCEL);
  await once(stream, "close");
  await new Promise((resolve) => session.ping(resolve));
  session.close();
}

it.each([
  ["nothing", 0],
  ["the first of two lines", whole.length - 9],
])("does not perform a call that was abandoned after %s", async (_name, length) => {
  await abandon(whole.slice(0, length));
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(fixture.seen.placed).toBe(0);
  expect(defects).toHaveLength(0);
});
