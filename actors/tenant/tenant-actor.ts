import { create } from "@bufbuild/protobuf";
import {
  TenantActor,
  TenantSettingsSchema,
  TenantStateSchema,
  type ConfigureTenant,
  type TenantSettings,
} from "../../proto/gen/tradewind/actors/tenant/v1/tenant_actor_pb.ts";
import { defineActor, DomainError, type ActorContext } from "../runtime/index.ts";
import { DEFAULT_SETTINGS } from "../shared/settings.ts";

/** A tenant and its settings. Key: tenant id. */
export const tenantActor = defineActor(
  TenantActor,
  TenantStateSchema,
  { configure },
  { creates: ["configure"] },
);

const DURATION_MS_MAX = 30n * 86_400_000n;
const ATTEMPTS_MAX = 20;

/** Opens the tenant, or replaces the settings that are set. @throws DomainError VALIDATION {field} */
function configure(ctx: ActorContext<typeof TenantStateSchema>, { name, settings }: ConfigureTenant) {
  const { state } = ctx;
  const nowMs = BigInt(ctx.nowMs);
  const merged = merge(state.settings ?? create(TenantSettingsSchema, DEFAULT_SETTINGS), settings);
  check(merged);
  state.settings = merged;
  state.name = name || state.name || ctx.key;
  state.revision += 1n;
  state.createdMs ||= nowMs;
  state.updatedMs = nowMs;
  return { tenant: state };
}

function merge(known: TenantSettings, news: TenantSettings | undefined): TenantSettings {
  const set = Object.entries(news ?? {}).filter(([key, value]) => !key.startsWith("$") && isSet(value));
  return create(TenantSettingsSchema, { ...known, ...Object.fromEntries(set) });
}

function isSet(value: unknown): boolean {
  return value !== "" && value !== 0 && value !== 0n && value !== undefined;
}

function check(settings: TenantSettings): void {
  const durations = { ...settings } as unknown as Record<string, unknown>;
  for (const [field, value] of Object.entries(durations)) {
    const isBad = typeof value === "bigint" && (value < 1n || value > DURATION_MS_MAX);
    const isMany = typeof value === "number" && (value < 1 || value > ATTEMPTS_MAX);
    if (isBad || isMany)
      throw DomainError.of("VALIDATION", `${field} of ${String(value)} is out of range`, { field });
  }
  if (!/^[A-Z]{3}$/.test(settings.defaultCurrency)) {
    const text = `${settings.defaultCurrency} is no ISO 4217 code`;
    throw DomainError.of("VALIDATION", text, { field: "default_currency" });
  }
}
