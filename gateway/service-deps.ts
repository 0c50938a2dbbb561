import type { DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { ActorClient, CallResult } from "../actors/runtime/index.ts";
import type { Clock } from "../platform/clock.ts";
import type { Random } from "../platform/random.ts";
import type { OrderStateSchema } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import type { StockStateSchema } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { scopeOf } from "./call-scope.ts";
import { fieldError } from "./connect-errors.ts";
import type { FigureBoard } from "./figure-board.ts";
import { markReplayed, type WriteIdentity } from "./idempotency.ts";
import { remainingMs } from "./interceptors/deadline.ts";
import type { GatewayLimits } from "./limits.ts";
import type { ProductCache } from "./product-cache.ts";
import type { RecordFeeds } from "./record-feed.ts";
import type { TenantCache } from "./tenant-cache.ts";

/** What every service of the gateway works with. */
export interface ServiceDeps {
  readonly client: ActorClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: GatewayLimits;
  readonly products: ProductCache;
  readonly tenants: TenantCache;
  readonly orderFeeds: RecordFeeds<typeof OrderStateSchema>;
  readonly board: FigureBoard;
  readonly stockFeeds: RecordFeeds<typeof StockStateSchema>;
}

/** Sends a command of this call to an actor of its tenant and marks a replayed answer. */
export async function send<M extends DescMethodUnary>(
  { client, limits }: ServiceDeps,
  context: HandlerContext,
  command: {
    readonly method: M;
    readonly key: string;
    readonly message: MessageInitShape<M["input"]>;
    readonly identity: WriteIdentity;
    /** The rest of the call's deadline by default. */
    readonly timeoutMs?: number;
  },
): Promise<CallResult<M["output"]>> {
  const { tenant, trace } = scopeOf(context);
  const { method, key, message, identity, timeoutMs } = command;
  const result = await client.call(method, { tenant, key }, message, {
    requestId: identity.requestId,
    fingerprint: identity.fingerprint,
    timeoutMs: timeoutMs ?? remainingMs(context, limits.deadlineMsMax),
    signal: context.signal,
    trace,
  });
  markReplayed(context, result.replayed);
  return result;
}

/** Stock has one place per tenant so far. @throws ConnectError VALIDATION when a branch is named */
export function refuseBranch(branchId: string): void {
  if (branchId !== "")
    throw fieldError("branch_id", `there is no branch ${branchId}; leave it empty`, "branch");
}
