import {
  ClaimActor,
  ClaimStateSchema,
  type SkuClaim,
} from "../../proto/gen/tradewind/actors/claim/v1/claim_actor_pb.ts";
import { ProductActor } from "../../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import { defineActor, type ActorContext } from "../runtime/index.ts";

/** A name that only one may have: the first one that asks. Key: kind of name and a hash of it. */
export const claimActor = defineActor(ClaimActor, ClaimStateSchema, { takeSku }, { creates: ["takeSku"] });

function takeSku(ctx: ActorContext<typeof ClaimStateSchema>, { sku, productId }: SkuClaim) {
  const { state } = ctx;
  if (state.owner === "") {
    state.name = sku;
    state.owner = productId;
    state.takenMs = BigInt(ctx.nowMs);
  }
  const { owner } = state;
  ctx.send(ProductActor.method.skuSettled, productId, { granted: owner === productId, owner });
  return {};
}
