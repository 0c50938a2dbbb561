import type { GetSystemStatusResponseJson } from "../../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { type Finding, ok, problem } from "./finding.ts";

const STATUS = "/tradewind.ops.v1.OpsService/GetSystemStatus";
const TIMEOUT_MS = 3_000;

/** What stands at the gateway's address. */
export interface GatewayReport {
  readonly finding: Finding;
  /** True if it is one of ours, healthy or not. */
  readonly isOurs: boolean;
}

/** Asks the gateway how the system is. */
export async function checkGateway(url: string): Promise<GatewayReport> {
  const fail = (text: string, fix: string) => problem("gateway", text, fix);
  const start = "npm start (or node gateway/main.ts); another address: --url or TRADEWIND_URL";
  let response: Response;
  let body: string;
  try {
    response = await fetch(`${url}${STATUS}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    body = await response.text();
  } catch (error) {
    const { cause, message } = error as Error;
    const why = cause instanceof Error ? cause.message : message;
    return { finding: fail(`no gateway answers at ${url}: ${why}`, start), isOurs: false };
  }
  let status: GetSystemStatusResponseJson & { readonly code?: string; readonly message?: string };
  try {
    status = JSON.parse(body) as typeof status;
  } catch {
    return { finding: fail(`what answers at ${url} is no gateway of Tradewind`, start), isOurs: false };
  }
  if (!response.ok) {
    const text = `the gateway answers ${status.code ?? response.status}: ${status.message ?? body.slice(0, 200)}`;
    return { finding: fail(text, "its log, and /readyz on its admin port"), isOurs: true };
  }
  const { healthy, problems = [], build, nats } = status;
  if (healthy !== true) {
    const text = `the gateway says: ${problems.join("; ") || "not healthy"}`;
    return { finding: fail(text, "what is said above of NATS, streams, logs; else its log"), isOurs: true };
  }
  const text = `${url} answers (version ${build?.version ?? "?"}, on ${nats?.serverName ?? "?"})`;
  return { finding: ok("gateway", text), isOurs: true };
}
