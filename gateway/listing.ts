import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { ActorClient } from "../actors/runtime/index.ts";
import { GATEWAY_LIMITS } from "./limits.ts";
import type { ListPosition } from "./page-token.ts";

/** One list of a tenant, joined with the records that its entries name. */
export interface ListQuery<S extends DescMessage> {
  readonly tenant: string;
  readonly list: string;
  readonly kind: string;
  readonly schema: S;
  readonly after: ListPosition | undefined;
  readonly pageSize: number;
  /** Looks at what never changes: fields and time of the entry. */
  readonly matchesEntry: (fields: Readonly<Record<string, string>>, createdMs: number) => boolean;
  /** Looks at the record as it is now. */
  readonly matchesRecord: (state: MessageShape<S>) => boolean;
  /** Entries older than this cannot match: the list ends there. */
  readonly oldestMs?: number;
}

export interface ListPage<S extends DescMessage> {
  readonly items: readonly { readonly id: string; readonly state: MessageShape<S> }[];
  readonly next: ListPosition | undefined;
}

/**
 * Reads one page, newest first. After `listReadsMax` candidates it gives what it has, with a position to go on from: a
 * rare match in a long list costs several calls, never one without end.
 */
export async function listRecords<S extends DescMessage>(
  client: ActorClient,
  query: ListQuery<S>,
): Promise<ListPage<S>> {
  const { tenant, list, kind, schema, pageSize, matchesEntry, matchesRecord, oldestMs = 0 } = query;
  const items: { id: string; state: MessageShape<S> }[] = [];
  let position = query.after;
  let isPastOldest = false;
  for (let readCount = 0; readCount < GATEWAY_LIMITS.listReadsMax;) {
    const wanted = pageSize - items.length;
    const { entries, next } = await client.list(tenant, list, position, wanted, ({ fields, createdMs }) => {
      if (Number(createdMs) < oldestMs) isPastOldest = true;
      return !isPastOldest && matchesEntry(fields, Number(createdMs));
    });
    const records = await client.readMany(
      kind,
      schema,
      tenant,
      entries.map(({ id }) => id),
    );
    for (const { id } of entries) {
      const state = records.get(id)?.state;
      if (state !== undefined && matchesRecord(state)) items.push({ id, state });
    }
    position = isPastOldest ? undefined : next;
    readCount += Math.max(entries.length, 1);
    const isShort = entries.length < wanted;
    // A short answer with a position: the candidates of one call are used up.
    if (items.length >= pageSize || position === undefined || isShort) break;
  }
  return { items, next: position };
}
