import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { StoredEvent } from "../actors/runtime/index.ts";
import { OrderStatusSchema } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import type { OrderHistoryEntrySchema, OrderStatus } from "../proto/gen/tradewind/order/v1/order_pb.ts";

type Entry = MessageInitShape<typeof OrderHistoryEntrySchema>;

/** Fields that some of the events have. */
interface EventJson {
  readonly status?: string;
  readonly atMs?: string;
  readonly attempt?: number;
  readonly text?: string;
  readonly code?: string;
  readonly currency?: string;
  readonly amount?: string;
  readonly reason?: { readonly text?: string };
}

/** What happened to an order, as its stored events tell it, oldest first. */
export function historyOf(events: readonly StoredEvent[]): readonly Entry[] {
  return events.map((event, index) => {
    const json = JSON.parse(event.json) as EventJson;
    return {
      number: index + 1,
      time: timestampFromMs(Number(json.atMs ?? event.atMs)),
      event: eventName(event.type),
      status: statusOf(json.status),
      text: textOf(json),
    };
  });
}

/** `tradewind.actors.order.v1.OrderPaymentDeclined` is `payment_declined`. */
function eventName(type: string): string {
  const name = (type.split(".").at(-1) ?? type).replace(/^Order/, "");
  return name.replace(/(?!^)([A-Z])/g, "_$1").toLowerCase();
}

function statusOf(name: string | undefined): OrderStatus {
  const value = OrderStatusSchema.values.find((candidate) => candidate.name === name);
  return (value?.number ?? 0) as OrderStatus;
}

function textOf({ attempt, text, code, amount, currency, reason }: EventJson): string {
  const parts = [
    attempt === undefined ? "" : `attempt ${attempt}`,
    amount === undefined ? "" : `${amount} ${currency ?? ""} minor units`,
    code ?? "",
    text ?? reason?.text ?? "",
  ];
  return parts.filter((part) => part !== "").join(": ");
}
