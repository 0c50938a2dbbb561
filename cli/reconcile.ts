import type { ReconcileResponseJson } from "../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { createApiClient } from "./api-client.ts";
import { ExitError } from "./exit-error.ts";
import { grouped, type Terminal } from "./terminal.ts";

const PATH = "/tradewind.ops.v1.OpsService/Reconcile";
const CLEAN = "RECONCILE_VERDICT_CLEAN";

export interface ReconcileOptions {
  readonly url: string;
  readonly timeoutMs: number;
  readonly json: boolean;
}

/** Asks the gateway whether the books agree and prints what it found. @throws ExitError 1 unless all is clean */
export async function reconcile(
  terminal: Terminal,
  { url, timeoutMs, json }: ReconcileOptions,
): Promise<void> {
  const api = createApiClient(url, timeoutMs + 10_000);
  try {
    const found = await api.call<ReconcileResponseJson>(PATH, { timeout: `${timeoutMs / 1_000}s` });
    if (json) terminal.out(JSON.stringify(found));
    else for (const line of reconcileLines(found)) terminal.out(line);
    if (found.verdict !== CLEAN) throw new ExitError(`the books are not clean: ${wordOf(found.verdict)}`);
  } finally {
    api.close();
  }
}

/** One line for each check, then the verdict. */
export function reconcileLines({
  checks = [],
  verdict,
  orders,
  ordersOpen,
  ordersArchived,
}: ReconcileResponseJson): string[] {
  const underWay = grouped(Number(ordersOpen ?? 0));
  const archived = Number(ordersArchived ?? 0);
  const archivedToo = archived === 0 ? "" : `, and ${grouped(archived)} archived ones`;
  return [
    ...checks.flatMap(({ name = "", verdict: one, expected = "", actual = "", text = "", samples = [] }) => {
      const sides = one === CLEAN ? "" : `  expected ${expected}, is ${actual}`;
      const about = text === "" ? "" : `  ${text}`;
      const head = `${wordOf(one).padEnd(10)}${name}${sides}${about}`;
      return samples.length === 0 ? [head] : [head, `          ${samples.join(" ")}`];
    }),
    `${wordOf(verdict)}: ${grouped(Number(orders ?? 0))} orders, ${underWay} of them under way${archivedToo}`,
  ];
}

function wordOf(verdict: string | undefined): string {
  return (verdict ?? "").replace("RECONCILE_VERDICT_", "").toLowerCase() || "unknown";
}
