import { fromJsonString } from "@bufbuild/protobuf";
import type { ActorAddress, ActorClient } from "../actors/runtime/index.ts";
import {
  type OrderArchived,
  OrderArchivedSchema,
} from "../proto/gen/tradewind/actors/order/v1/order_events_pb.ts";

/** An order that has left the records, as its last event has it; undefined if there is none in EVENTS any more. */
export async function readArchived(
  client: ActorClient,
  address: ActorAddress,
): Promise<OrderArchived | undefined> {
  const event = await client.lastEvent("order", address, OrderArchivedSchema);
  return event && fromJsonString(OrderArchivedSchema, event.json, { ignoreUnknownFields: true });
}
