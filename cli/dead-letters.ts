import type {
  DeadLetterJson,
  DiscardDeadLetterResponseJson,
  GetDeadLetterResponseJson,
  ListDeadLettersResponseJson,
  RedriveDeadLetterResponseJson,
} from "../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { type ApiClient, createApiClient } from "./api-client.ts";
import { table, type Terminal } from "./terminal.ts";

const PATH = "/tradewind.ops.v1.OpsService/";
const PAGE_SIZE = 100;
const TEXT_CHARACTERS_MAX = 60;

async function withApi<T>(url: string, work: (api: ApiClient) => Promise<T>): Promise<T> {
  const api = createApiClient(url);
  try {
    return await work(api);
  } finally {
    api.close();
  }
}

/** Prints what could not be applied, newest first. */
export async function listDeadLetters(
  terminal: Terminal,
  {
    url,
    kind = "",
    json,
  }: { readonly url: string; readonly kind?: string | undefined; readonly json: boolean },
): Promise<void> {
  await withApi(url, async (api) => {
    const found: DeadLetterJson[] = [];
    for (let pageToken = ""; ;) {
      const request = { kind, pageSize: PAGE_SIZE, pageToken };
      const page = await api.call<ListDeadLettersResponseJson>(`${PATH}ListDeadLetters`, request);
      found.push(...(page.deadLetters ?? []));
      pageToken = page.nextPageToken ?? "";
      if (pageToken === "") break;
    }
    if (json) return terminal.out(JSON.stringify(found));
    if (found.length === 0) return terminal.out("no dead letters");
    for (const line of deadLetterTable(found)) terminal.out(line);
  });
}

/** One row for each. */
export function deadLetterTable(letters: readonly DeadLetterJson[]): string[] {
  const rows = letters.map(
    ({ id = "", kind = "", key = "", type = "", reason = "", text = "", createdAt = "" }) => [
      id,
      createdAt,
      `${kind} ${key}`,
      type,
      reason,
      text.slice(0, TEXT_CHARACTERS_MAX),
    ],
  );
  return table([["id", "since", "actor", "message", "reason", "text"], ...rows]);
}

/** Prints one of them with its payload. */
export async function showDeadLetter(terminal: Terminal, url: string, deadLetterId: string): Promise<void> {
  const { deadLetter } = await withApi(url, (api) =>
    api.call<GetDeadLetterResponseJson>(`${PATH}GetDeadLetter`, { deadLetterId }),
  );
  const { payloadJson = "", ...rest } = deadLetter ?? {};
  const payload = payloadJson === "" ? {} : { payload: JSON.parse(payloadJson) as unknown };
  terminal.out(JSON.stringify({ ...rest, ...payload }, null, 2));
}

/** Sends one of them to its actor again. */
export async function redriveDeadLetter(
  terminal: Terminal,
  url: string,
  deadLetterId: string,
): Promise<void> {
  await withApi(url, (api) =>
    api.call<RedriveDeadLetterResponseJson>(`${PATH}RedriveDeadLetter`, { deadLetterId }),
  );
  terminal.out(`${deadLetterId} was sent again`);
}

/** Closes one of them for good. */
export async function discardDeadLetter(
  terminal: Terminal,
  url: string,
  deadLetterId: string,
  reason: string,
): Promise<void> {
  await withApi(url, (api) =>
    api.call<DiscardDeadLetterResponseJson>(`${PATH}DiscardDeadLetter`, { deadLetterId, reason }),
  );
  terminal.out(`${deadLetterId} was discarded`);
}
