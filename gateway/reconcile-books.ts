import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type Keyed, reconcile, type ReconcileReport } from "../actors/reconcile/reconciler.ts";
import type { ActorClient } from "../actors/runtime/index.ts";
import { type Clock, sleep } from "../platform/clock.ts";
import { ArchiveStateSchema } from "../proto/gen/tradewind/actors/archive/v1/archive_actor_pb.ts";
import { AnalyticsStateSchema } from "../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import { OrderStateSchema } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { PaymentStateSchema } from "../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import { StockStateSchema } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { edgeError } from "./connect-errors.ts";

/** Records of one kind that are read into memory; a tenant with more is refused. */
const RECORDS_MAX = 500_000;
const RETRY_MS = 300;

/**
 * Compares the books of a tenant. A difference is looked at again until it is gone or `timeoutMs` is over: records are
 * read one kind after another, while the system goes on.
 * @throws ConnectError LIMIT_EXCEEDED when there are more records than can be compared
 */
export async function reconcileTenant(
  { client, clock }: { readonly client: ActorClient; readonly clock: Clock },
  tenant: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ReconcileReport> {
  const endMs = clock.monotonicMs() + timeoutMs;
  for (;;) {
    const report = reconcile(await readBooks(client, clock, tenant));
    const isClean = report.checks.every(({ verdict }) => verdict === "clean");
    if (isClean || clock.monotonicMs() + RETRY_MS > endMs) return report;
    await sleep(clock, RETRY_MS, signal);
    signal.throwIfAborted();
  }
}

async function readBooks(client: ActorClient, clock: Clock, tenant: string) {
  const all = async <S extends DescMessage>(
    kind: string,
    schema: S,
  ): Promise<readonly Keyed<MessageShape<S>>[]> => {
    const records = await client.scan(kind, schema, tenant, "", RECORDS_MAX);
    if (records.length >= RECORDS_MAX) {
      throw edgeError(
        "LIMIT_EXCEEDED",
        `more than ${RECORDS_MAX} records of kind ${kind} cannot be compared in one call`,
      );
    }
    return records.flatMap(({ key, state }) => (state === undefined ? [] : [{ key, state }]));
  };
  const orders = await all("order", OrderStateSchema);
  const payments = await all("payment", PaymentStateSchema);
  const archive = await all("archive", ArchiveStateSchema);
  const stocks = await all("stock", StockStateSchema);
  const analytics = await all("analytics", AnalyticsStateSchema);
  return {
    orders,
    payments,
    archive,
    stocks: stocks.filter(({ state }) => state.opened),
    analytics,
    nowMs: clock.nowMs(),
  };
}
