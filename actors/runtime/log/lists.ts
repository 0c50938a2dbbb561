import {
  ListEntrySchema,
  ListPageSchema,
  type Entry,
  type ListPage,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { assert } from "../assert.ts";
import { LIMITS } from "../limits.ts";
import { recordName, type MemoryRecord } from "../step/record.ts";
import type { RecordId, RecordStore } from "./record-store.ts";
import { LIST_KIND } from "../step/step-context.ts";
import { decode } from "../codec/decode.ts";
import { create } from "../codec/create.ts";

/** The open page of a tenant's list in one log. */
export function listHeadId(tenant: string, name: string, log: number): RecordId {
  return { kind: LIST_KIND, tenant, key: `${name}-${log}-head` };
}

/** A page that is full and never changes again. */
export function listPageId(tenant: string, name: string, log: number, page: number): RecordId {
  return { kind: LIST_KIND, tenant, key: `${name}-${log}-${page}` };
}

/**
 * Appends to the open page; a full one is closed first. The head is in memory already.
 * @returns the records that changed
 */
export function appendToList(store: RecordStore, log: number, entry: Entry): MemoryRecord[] {
  const { tenant, key: name, body, atMs } = entry;
  const headId = listHeadId(tenant, name, log);
  const head = store.get(recordName(LIST_KIND, tenant, headId.key));
  assert(head, "the open page is loaded");
  const changed = [head];
  const { meta, state } = head.open(ListPageSchema);
  const letter = entry.redrive?.deadLetter; // J9: each dead letter once, also where two people send it again
  if (letter !== undefined) {
    if (meta.redriven.includes(letter)) return [];
    meta.redriven = [...meta.redriven.slice(-LIMITS.answersMax), letter];
  }
  const page = state as ListPage;
  if (page.entries.length >= LIMITS.listPageEntriesMax) {
    const closed = store.add(listPageId(tenant, name, log, page.page));
    const copy = closed.open(ListPageSchema);
    Object.assign(copy.state, create(ListPageSchema, { page: page.page, entries: page.entries }));
    copy.meta.revision = 1n;
    copy.meta.nowMs = atMs;
    copy.meta.createdMs = atMs;
    closed.touched();
    changed.push(closed);
    page.page += 1;
    page.entries = [];
  }
  page.entries.push(decode(ListEntrySchema, body));
  meta.revision += 1n;
  meta.nowMs = atMs;
  head.touched();
  return changed;
}
