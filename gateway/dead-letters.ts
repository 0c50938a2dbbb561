import { type DescService, fromBinary, type MessageInitShape, toJsonString } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { DeadLetterInfo } from "../actors/runtime/index.ts";
import { AdjustmentActor } from "../proto/gen/tradewind/actors/adjustment/v1/adjustment_actor_pb.ts";
import { ClaimActor } from "../proto/gen/tradewind/actors/claim/v1/claim_actor_pb.ts";
import { OrderActor } from "../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { PaymentActor } from "../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { ProductActor } from "../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import { StockActor } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { TenantActor } from "../proto/gen/tradewind/actors/tenant/v1/tenant_actor_pb.ts";
import { type DeadLetterSchema, DeadLetterState } from "../proto/gen/tradewind/ops/v1/ops_service_pb.ts";

const ACTORS: readonly DescService[] = [
  AdjustmentActor,
  ClaimActor,
  OrderActor,
  PaymentActor,
  ProductActor,
  StockActor,
  TenantActor,
];

/** A dead letter as callers see it, without its payload. */
export function deadLetterView(
  letter: DeadLetterInfo,
  state: DeadLetterState = DeadLetterState.OPEN,
): MessageInitShape<typeof DeadLetterSchema> {
  const { id, kind, tenant, key, method, reason, error, atMs, sequence } = letter;
  return {
    id,
    kind,
    tenantId: tenant,
    key,
    type: method,
    reason,
    text: error,
    state,
    createdAt: timestampFromMs(atMs),
    subject: `dead.${kind}.${tenant}.${key}.${id}`,
    sequence: BigInt(sequence),
  };
}

/** With its payload, as JSON where this build knows the message. */
export function deadLetterWithPayload(letter: DeadLetterInfo): MessageInitShape<typeof DeadLetterSchema> {
  return { ...deadLetterView(letter), payload: letter.body, payloadJson: payloadJson(letter) };
}

function payloadJson({ kind, method, body }: DeadLetterInfo): string {
  const service = ACTORS.find(({ typeName }) => typeName.split(".")[2] === kind);
  const input = service?.methods.find(({ name }) => name === method)?.input;
  if (input === undefined) return "";
  try {
    return toJsonString(input, fromBinary(input, body));
  } catch {
    return "";
  }
}
