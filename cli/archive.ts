import type { ArchiveOrdersResponseJson } from "../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { createApiClient } from "./api-client.ts";
import { ExitError } from "./exit-error.ts";
import { grouped, type Terminal } from "./terminal.ts";

const PATH = "/tradewind.ops.v1.OpsService/ArchiveOrders";
const DAY_S = 86_400;

export interface ArchiveCommand {
  readonly url: string;
  /** Orders unchanged for so long leave. */
  readonly olderThanDays: number;
  readonly json: boolean;
}

/** Archives until everything has been looked at, and says how much has left. @throws ExitError no progress is made */
export async function archive(
  terminal: Terminal,
  { url, olderThanDays, json }: ArchiveCommand,
): Promise<void> {
  const api = createApiClient(url);
  let archived = 0;
  try {
    for (;;) {
      const request = { olderThan: `${olderThanDays * DAY_S}s`, timeout: "10s" };
      const found = await api.call<ArchiveOrdersResponseJson>(PATH, request);
      archived += Number(found.archived ?? 0);
      const kept = Number(found.kept ?? 0);
      if (found.complete !== true) {
        if (Number(found.archived ?? 0) === 0) throw new ExitError("the system is busy: archive later");
        terminal.status(`${grouped(archived)} orders archived`);
        continue;
      }
      terminal.status("");
      if (json) return terminal.out(JSON.stringify({ archived, kept }));
      return terminal.out(
        `${grouped(archived)} orders archived, ${grouped(kept)} older than ${olderThanDays} days stay`,
      );
    }
  } finally {
    api.close();
  }
}
