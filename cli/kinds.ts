import type { DescMessage, DescMethod, DescService } from "@bufbuild/protobuf";
import {
  AdjustmentActor,
  AdjustmentStateSchema,
} from "../proto/gen/tradewind/actors/adjustment/v1/adjustment_actor_pb.ts";
import { AnalyticsStateSchema } from "../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import {
  ArchiveActor,
  ArchiveStateSchema,
} from "../proto/gen/tradewind/actors/archive/v1/archive_actor_pb.ts";
import { ClaimActor, ClaimStateSchema } from "../proto/gen/tradewind/actors/claim/v1/claim_actor_pb.ts";
import { OrderActor } from "../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { OrderStateSchema } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import {
  PaymentActor,
  ProviderCallSchema,
} from "../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { PaymentStateSchema } from "../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import {
  ProductActor,
  ProductStateSchema,
} from "../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import {
  ListEntrySchema,
  ListPageSchema,
  ListTrimSchema,
} from "../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { StockActor, StockStateSchema } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { TenantActor, TenantStateSchema } from "../proto/gen/tradewind/actors/tenant/v1/tenant_actor_pb.ts";

interface KindContract {
  readonly state: DescMessage;
  readonly service?: DescService;
}

/** Contracts of all kinds, so that stored bytes can be shown. A test compares them with what the worker runs. */
const KINDS: Readonly<Record<string, KindContract>> = {
  adjustment: { state: AdjustmentStateSchema, service: AdjustmentActor },
  analytics: { state: AnalyticsStateSchema },
  archive: { state: ArchiveStateSchema, service: ArchiveActor },
  claim: { state: ClaimStateSchema, service: ClaimActor },
  list: { state: ListPageSchema },
  order: { state: OrderStateSchema, service: OrderActor },
  payment: { state: PaymentStateSchema, service: PaymentActor },
  product: { state: ProductStateSchema, service: ProductActor },
  stock: { state: StockStateSchema, service: StockActor },
  tenant: { state: TenantStateSchema, service: TenantActor },
};

/** Names of the kinds that can be shown. */
export const KIND_NAMES: readonly string[] = Object.keys(KINDS);

/** State message of a kind; undefined if this build does not know it. */
export function stateOf(kind: string): DescMessage | undefined {
  return KINDS[kind]?.state;
}

/** Input message of an rpc of a kind. */
export function inputOf(kind: string, rpc: string): DescMessage | undefined {
  if (kind === "list") return ListEntrySchema;
  if (kind === "trim") return ListTrimSchema;
  return KINDS[kind]?.service?.methods.find(({ name }: DescMethod) => name === rpc)?.input;
}

/** Input message of a task queue. */
export function taskInputOf(queue: string): DescMessage | undefined {
  return /^payment(_|$)/.test(queue) ? ProviderCallSchema : undefined;
}
