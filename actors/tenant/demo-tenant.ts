import { TenantActor } from "../../proto/gen/tradewind/actors/tenant/v1/tenant_actor_pb.ts";
import { CallError, type ActorClient } from "../runtime/index.ts";

/** The tenant that a system has from the first day on, and that calls without credentials belong to. */
export const DEMO_TENANT = "demo";

const REQUEST_ID = "demo-tenant-by-default";
const TIMEOUT_MS = 20_000;

/**
 * Opens the demo tenant with the default settings. It is one request for ever, so a tenant that has been set up
 * since stays as it is. @returns false if nobody answered in time: try again
 */
export async function ensureDemoTenant(client: ActorClient): Promise<boolean> {
  try {
    const address = { tenant: DEMO_TENANT, key: DEMO_TENANT };
    const options = { requestId: REQUEST_ID, timeoutMs: TIMEOUT_MS };
    await client.call(TenantActor.method.configure, address, { name: "Demo" }, options);
    return true;
  } catch (error) {
    if (error instanceof CallError) return false;
    throw error;
  }
}
