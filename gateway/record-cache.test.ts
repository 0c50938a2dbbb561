import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import type { ActorClient } from "../actors/runtime/index.ts";
import { systemClock } from "../platform/clock.ts";
import {
  ProductStateSchema,
  ProductStatus,
} from "../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import { createProductCache } from "./product-cache.ts";

it("keeps nothing that was read before its changes could be heard", async () => {
  const watched = Promise.withResolvers<void>();
  let status: ProductStatus = ProductStatus.UNSPECIFIED;
  const state = () => create(ProductStateSchema, { revision: 1n, status });
  const client = {
    watch: () => ({ ready: watched.promise, close: () => undefined }),
    read: () =>
      Promise.resolve({ state: state(), revision: 1n, createdMs: 0, updatedMs: 0, asOfMs: undefined }),
  } as unknown as ActorClient;
  const cache = createProductCache(client, systemClock);
  expect((await cache.get("demo", "tea"))?.status).toBe(ProductStatus.UNSPECIFIED);
  status = ProductStatus.ACTIVE; // nobody listens yet: the change is not told
  watched.resolve();
  await watched.promise;
  expect((await cache.get("demo", "tea"))?.status).toBe(ProductStatus.ACTIVE);
  cache.close();
});
