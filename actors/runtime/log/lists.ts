import {
  ListEntrySchema,
  ListPageSchema,
  ListTrimSchema,
  type Entry,
  type ListPage,
  type ListTrim,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { assert } from "../assert.ts";
import { LIMITS } from "../limits.ts";
import type { MemoryRecord } from "../step/record.ts";
import type { RecordId, RecordStore } from "./record-store.ts";
import { LIST_KIND } from "../step/step-context.ts";
import { decode } from "../codec/decode.ts";
import { create } from "../codec/create.ts";

/** The open page of a tenant's list in one log. */
export function listHeadId(tenant: string, name: string, log: number): RecordId {
  return { kind: LIST_KIND, tenant, key: `${name}-${log}-head` };
}

/** A page that is full: nothing is appended to it any more. */
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
  const head = store.get(headId);
  assert(head, "the open page is loaded");
  const changed = [head];
  const { meta, state } = head.open(ListPageSchema);
  const letter = entry.redrive?.deadLetter; // J9: each dead letter once, also where two people send it again
  if (letter !== undefined) {
    if (meta.redriven.includes(letter)) return [];
    meta.redriven = [...meta.redriven.slice(-LIMITS.answersMax), letter];
  }
  const page = state as ListPage;
  const added = decode(ListEntrySchema, body);
  // Pages are in order of time. What comes late, from the dead letters or by a clock that jumped, stands where it came.
  const newest = page.entries.at(-1);
  if (newest !== undefined && added.createdMs < newest.createdMs) added.createdMs = newest.createdMs;
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
  page.entries.push(added);
  meta.revision += 1n;
  meta.nowMs = atMs;
  head.touched();
  return changed;
}

/** Records that a message of the kind `trim` touches; none if nobody can read it. */
export function trimIds(entry: Entry, log: number): readonly RecordId[] {
  const { tenant, key: name } = entry;
  const page = trimOf(entry)?.page;
  if (page === undefined) return [];
  return [
    listHeadId(tenant, name, log),
    listPageId(tenant, name, log, page),
    listPageId(tenant, name, log, page + 1),
  ];
}

/**
 * Takes entries from the oldest page: what stays moves to the next page, and the page goes, so that the pages that are
 * left have no gap. A repeat finds another page to be the oldest and changes nothing. All of its records are in memory
 * already.
 * @returns the records that changed
 */
export function trimList(store: RecordStore, log: number, entry: Entry): MemoryRecord[] {
  const records = trimIds(entry, log).map((id) => store.get(id));
  const trim = trimOf(entry);
  if (trim === undefined) return [];
  const [head, page, next] = records;
  assert(head && page && next, "the pages are loaded");
  const open = pageOf(head);
  const following = pageOf(next);
  const gone = new Set(trim.ids);
  const old = pageOf(page);
  const kept = old.entries.filter(({ id }) => !gone.has(id));
  const isOldest = open.first === trim.page && trim.page < open.page;
  // The newest full page has no full one behind it: what stays, stays there.
  const isLast = trim.page + 1 === open.page;
  const isCrowded = !isLast && kept.length + following.entries.length > LIMITS.listPageKeptMax;
  if (!isOldest || isCrowded || (isLast && kept.length === old.entries.length)) {
    for (const record of [head, page, next]) record.rest();
    return [];
  }
  if (isLast && kept.length > 0) {
    old.entries = kept;
    changed(page, entry);
    return [page];
  }
  open.first += 1;
  changed(head, entry);
  page.clear();
  if (kept.length === 0) return [head, page];
  following.page = trim.page + 1;
  following.entries = [...kept, ...following.entries];
  changed(next, entry);
  return [head, page, next];
}

/** Undefined if the bytes are no such message: nobody of ours sends that, and no log stops for it. */
function trimOf({ body }: Entry): ListTrim | undefined {
  try {
    return decode(ListTrimSchema, body);
  } catch {
    return undefined;
  }
}

function pageOf(record: MemoryRecord): ListPage {
  return record.open(ListPageSchema).state as ListPage;
}

function changed(record: MemoryRecord, { atMs }: Entry): void {
  const { meta } = record.open(ListPageSchema);
  meta.revision += 1n;
  if (atMs > meta.nowMs) meta.nowMs = atMs;
  record.touched();
}
