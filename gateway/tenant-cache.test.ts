import { create } from "@bufbuild/protobuf";
import { afterEach, expect, it } from "vitest";
import type { ActorClient, RecordUpdate } from "../actors/runtime/index.ts";
import type { Clock } from "../platform/clock.ts";
import { TenantStateSchema } from "../proto/gen/tradewind/actors/tenant/v1/tenant_actor_pb.ts";
import { createTenantCache, type TenantCache } from "./tenant-cache.ts";

type Update = RecordUpdate<typeof TenantStateSchema>;

let nowMs = 0;
const clock = { monotonicMs: () => nowMs } as Clock;
let cache: TenantCache;
afterEach(() => cache.close());

/** Answers reads with what `state` is, and lets a test tell changes. */
function fakeClient() {
  const fake = { reads: 0, state: undefined as Update["state"], tell: (_update: Update) => {} };
  const read = async () => {
    fake.reads++;
    return { state: fake.state, revision: 0n, createdMs: 0, updatedMs: 0, asOfMs: undefined };
  };
  const watch = (...args: unknown[]) => {
    fake.tell = args[4] as typeof fake.tell;
    return { ready: Promise.resolve(), close: () => {} };
  };
  cache = createTenantCache({ read, watch } as unknown as ActorClient, clock);
  return fake;
}

const tenant = (defaultCurrency: string) =>
  create(TenantStateSchema, { settings: { defaultCurrency }, revision: 1n });

it("asks once for a tenant that has set nothing, and again after a minute", async () => {
  const client = fakeClient();
  for (let i = 0; i < 5; i++) expect(await cache.currency("demo")).toBe("EUR");
  expect(client.reads).toBeLessThanOrEqual(2); // the first comes before its watch
  const before = client.reads;
  nowMs += 60_000;
  await cache.currency("demo");
  expect(client.reads).toBe(before + 1);
});

it("takes settings that are made later", async () => {
  const client = fakeClient();
  for (let i = 0; i < 2; i++) await cache.settings("demo");
  const state = tenant("USD");
  client.tell({
    kind: "tenant",
    tenant: "demo",
    key: "demo",
    state,
    revision: 1n,
    sequence: 1,
    updatedMs: 0,
  });
  expect(await cache.currency("demo")).toBe("USD");
});
