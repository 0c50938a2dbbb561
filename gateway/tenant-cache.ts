import type { ActorClient } from "../actors/runtime/index.ts";
import type { Clock } from "../platform/clock.ts";
import {
  type TenantSettings,
  TenantStateSchema,
} from "../proto/gen/tradewind/actors/tenant/v1/tenant_actor_pb.ts";
import { createRecordCache } from "./record-cache.ts";

/** Settings of tenants, from memory. */
export interface TenantCache {
  /** Undefined if nothing has been set for the tenant: actors then use their defaults. */
  settings(tenant: string): Promise<TenantSettings | undefined>;
  /** Currency of figures when a caller names none. */
  currency(tenant: string): Promise<string>;
  close(): void;
}

const TENANTS_MAX = 1_000;
const AGE_MS_MAX = 60_000;
const CURRENCY_DEFAULT = "EUR";

export function createTenantCache(client: ActorClient, clock: Clock): TenantCache {
  const cache = createRecordCache({
    client,
    clock,
    kind: "tenant",
    schema: TenantStateSchema,
    revisionOf: ({ revision }) => revision,
    recordsMax: TENANTS_MAX,
    ageMsMax: AGE_MS_MAX,
    // Most tenants have set nothing, and every order asks.
    keepsAbsent: true,
  });
  const settings = async (tenant: string) => (await cache.get(tenant, tenant))?.settings;
  return {
    settings,
    currency: async (tenant) => (await settings(tenant))?.defaultCurrency || CURRENCY_DEFAULT,
    close: () => cache.close(),
  };
}
