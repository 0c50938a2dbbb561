import { create } from "@bufbuild/protobuf";
import {
  ArchiveActor,
  type ArchivedFigures,
  ArchivedSumsSchema,
  type ArchiveState,
  ArchiveStateSchema,
} from "../../proto/gen/tradewind/actors/archive/v1/archive_actor_pb.ts";
import { defineActor, type ActorContext } from "../runtime/index.ts";
import { addFigures, figuresOf } from "../shared/archived-sums.ts";

/**
 * Keys of one ledger; a page is closed above it. One order adds 205 at most (100 products), a key with its figures has
 * at most about 220 bytes: the record stays below its bound.
 */
export const LEDGER_KEYS_MAX = 800;

type Context = ActorContext<typeof ArchiveStateSchema>;

/** What the orders that were archived added up to: an open ledger for each log, and its closed pages. */
export const archiveActor = defineActor(
  ArchiveActor,
  ArchiveStateSchema,
  { add, keep },
  { creates: ["add", "keep"] },
);

function add(ctx: Context, message: ArchivedFigures) {
  const { state, key } = ctx;
  take(ctx, message);
  if (Object.keys(state.sums).length <= LEDGER_KEYS_MAX) return {};
  const { sums, orders } = state;
  ctx.send(ArchiveActor.method.keep, `${key}-${state.pages}`, { sums, orders });
  state.sums = {};
  state.orders = 0n;
  state.pages += 1;
  return {};
}

function keep(ctx: Context, page: ArchiveState) {
  take(ctx, page);
  return {};
}

function take({ state, nowMs }: Context, { sums, orders }: Pick<ArchivedFigures, "sums" | "orders">): void {
  for (const [key, added] of Object.entries(sums))
    addFigures((state.sums[key] ??= create(ArchivedSumsSchema)), figuresOf(added));
  state.orders += orders;
  state.updatedMs = BigInt(nowMs);
}
