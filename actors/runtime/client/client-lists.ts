import { create } from "@bufbuild/protobuf";
import type { Clock } from "../../../platform/clock.ts";
import {
  EntrySchema,
  type ListEntry,
  type ListPage,
  ListPageSchema,
  ListTrimSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { assert } from "../assert.ts";
import type { Bus } from "../bus/bus.ts";
import { LIMITS } from "../limits.ts";
import { decodeRecord, type LogReader } from "./log-reader.ts";
import { encode } from "../codec/encode.ts";
import type { InboxWriter } from "../inbox-writer.ts";
import { LIST_KIND, TRIM_KIND, TRIM_METHOD } from "../step/step-context.ts";
import { isToken, type Topology } from "../topology.ts";
import { decode } from "../codec/decode.ts";

/** What the lists need from outside. */
export interface ClientListsOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly topology: Topology;
  readonly reader: LogReader;
  readonly writer: InboxWriter;
}

/** A place in a list: behind the entry with this time and id. */
export interface ListCursor {
  readonly createdMs: number;
  readonly id: string;
}

/** What one call found; `next` is undefined at the end of the list. */
export interface ListResult {
  readonly entries: readonly ListEntry[];
  readonly next: ListCursor | undefined;
}

/** Pages read ahead of one log at a time; doubles up to this. */
const PAGES_AHEAD_MAX = 8;
/** Pages looked at per round and log while a cursor deep in the list is searched. */
const PROBES = 8;
const TRIM_TIMEOUT_MS = 10_000;
/** Trims that may overtake one walk while it reads what the one before has moved. */
const TRIMS_MEANWHILE_MAX = 8;

/** One log's part of a list: its pages are walked from the newest to the oldest. */
interface Walk {
  readonly log: number;
  /** Newest first; entries of all pages read so far that were not given out. */
  readonly entries: ListEntry[];
  /** The next page to read; below the first one the log is at its end. */
  page: number;
  /** The oldest page that there is. */
  first: number;
  pagesAhead: number;
  /** Entries that it has met: where pages are trimmed meanwhile, what moves on is met again. */
  readonly known: Set<string>;
}

/** A page to read. */
interface WantedPage {
  readonly log: number;
  readonly page: number;
  /** It may have taken over entries of pages that are gone: its owner knows before the bucket does. */
  readonly isOldest?: boolean;
}

/** Walks the pages that the owners keep of a tenant's lists, merged over the logs, newest first. */
export class ClientLists {
  readonly #options: ClientListsOptions;

  constructor(options: ClientListsOptions) {
    this.#options = options;
  }

  /** See ActorClient.list. */
  async list(
    tenant: string,
    name: string,
    after: ListCursor | undefined,
    countMax: number,
    matches: (entry: ListEntry) => boolean,
  ): Promise<ListResult> {
    assert(isToken(tenant) && isToken(name), `${tenant}/${name} is not the name of a list`);
    const walks = await this.#start(tenant, name, after);
    const entries: ListEntry[] = [];
    let last: ListEntry | undefined;
    for (
      let candidates = 0;
      candidates < LIMITS.listCandidatesMax && entries.length < countMax;
      candidates++
    ) {
      const thin = walks.filter(isThin);
      if (thin.length > 0) await this.#readAhead(tenant, name, thin, after);
      const newest = newestOf(walks);
      if (newest === undefined) return { entries, next: undefined };
      last = newest.entries.shift();
      if (last !== undefined && matches(last)) entries.push(last);
    }
    const isEnd = walks.every((walk) => walk.entries.length === 0 && walk.page < walk.first);
    if (isEnd || last === undefined) return { entries, next: isEnd ? undefined : after };
    return { entries, next: { createdMs: Number(last.createdMs), id: last.id } };
  }

  /** The open pages, from the owners: a caller finds what it has just written. */
  async #start(tenant: string, name: string, after: ListCursor | undefined): Promise<readonly Walk[]> {
    const { topology } = this.#options;
    const group = topology.groupOf(LIST_KIND);
    const logs = Array.from({ length: topology.group(group).logs }, (_, log) => log);
    const walks = await Promise.all(
      logs.map(async (log): Promise<Walk> => {
        const head = await this.#readHead(tenant, name, log);
        const { entries = [], page = 0, first = 0 } = head ?? {};
        const walk: Walk = { log, entries: [], page: page - 1, first, pagesAhead: 1, known: new Set() };
        meet(walk, entries, after);
        return walk;
      }),
    );
    if (after !== undefined) await this.#seek(tenant, name, walks, after);
    return walks;
  }

  /**
   * Skips the closed pages that are newer than the cursor as a whole. Times within a log never fall from one entry to
   * the next, so a few rounds find the place among any number of pages.
   */
  async #seek(tenant: string, name: string, walks: readonly Walk[], after: ListCursor): Promise<void> {
    // Invariant: pages above `high` hold nothing behind the cursor; `low` and older ones may.
    const bounds = walks
      .filter((walk) => walk.entries.length === 0 && walk.page - walk.first > PROBES)
      .map((walk) => ({ walk, low: walk.first, high: walk.page }));
    for (let open = bounds; open.length > 0; open = bounds.filter(({ low, high }) => high - low > 1)) {
      const probes = open.flatMap((bound) =>
        probesOf(bound.low, bound.high).map((page) => ({ bound, page })),
      );
      const pages = await this.#readPages(
        tenant,
        name,
        probes.map(({ bound, page }) => ({ log: bound.walk.log, page })),
      );
      for (const [index, { bound, page }] of probes.entries()) {
        const [oldest] = pages[index]?.entries ?? [];
        // By time alone: where several pages have the cursor's own time, any of them may hold what is behind it.
        if (oldest !== undefined && oldest.createdMs > after.createdMs)
          bound.high = Math.min(bound.high, page);
        else bound.low = Math.max(bound.low, page);
      }
    }
    for (const { walk, high } of bounds) walk.page = Math.min(walk.page, high + 1);
  }

  /** Reads the next pages of the walks that are short of entries, all in one question. */
  async #readAhead(
    tenant: string,
    name: string,
    thin: readonly Walk[],
    after: ListCursor | undefined,
  ): Promise<void> {
    for (let left = thin; left.length > 0; left = left.filter(isThin)) {
      const wanted = left.flatMap((walk) => {
        const count = Math.min(walk.pagesAhead, walk.page + 1 - walk.first);
        return Array.from({ length: count }, (_, index) => {
          const page = walk.page - index;
          return { walk, log: walk.log, page, isOldest: page === walk.first };
        });
      });
      const pages = await this.#readPages(tenant, name, wanted);
      for (const [index, { walk, page }] of wanted.entries()) {
        const found = pages[index];
        if (walk.page !== page) continue;
        if (found === undefined) await this.#takeMoved(tenant, name, walk, after);
        else {
          meet(walk, found.entries, after);
          walk.page = page - 1;
        }
      }
      for (const walk of left) {
        walk.pagesAhead = Math.min(walk.pagesAhead * 2, PAGES_AHEAD_MAX);
      }
    }
  }

  /** A page was trimmed meanwhile, and with it all older ones: what stays is on the one that is the oldest now. */
  async #takeMoved(tenant: string, name: string, walk: Walk, after: ListCursor | undefined): Promise<void> {
    walk.page = walk.first - 1;
    for (let trims = 0; trims < TRIMS_MEANWHILE_MAX; trims++) {
      const head = await this.#readHead(tenant, name, walk.log);
      if (head === undefined || head.first === head.page) return;
      const [oldest] = await this.#readPages(tenant, name, [
        { log: walk.log, page: head.first, isOldest: true },
      ]);
      if (oldest === undefined) continue; // trimmed as well
      return meet(walk, oldest.entries, after);
    }
  }

  /** See ActorClient.oldestPages. */
  async oldestPages(
    tenant: string,
    name: string,
    log: number,
    fromPage: number,
    countMax: number,
  ): Promise<readonly ListPage[]> {
    assert(isToken(tenant) && isToken(name), `${tenant}/${name} is not the name of a list`);
    const head = await this.#readHead(tenant, name, log);
    if (head === undefined) return [];
    const from = Math.max(fromPage, head.first);
    const count = Math.max(0, Math.min(countMax, head.page - from));
    const wanted = Array.from({ length: count }, (_, index) => {
      const page = from + index;
      return { log, page, isOldest: page === head.first };
    });
    const pages = count === 0 ? [] : await this.#readPages(tenant, name, wanted);
    const end = pages.indexOf(undefined); // trimmed meanwhile
    const full = pages.slice(0, end < 0 ? count : end).filter((page) => page !== undefined);
    const isAtOpen = full.length === count && from + count === head.page && count < countMax;
    return isAtOpen ? [...full, head] : full;
  }

  /** See ActorClient.tenantsOf. */
  async tenantsOf(name: string): Promise<readonly string[]> {
    const { bus, topology } = this.#options;
    const logs = topology.group(topology.groupOf(LIST_KIND)).logs;
    const tenants = new Set<string>();
    for (let log = 0; log < logs; log++) {
      const held = await bus.subjects(
        topology.streams.actors,
        topology.record(LIST_KIND, "*", headKey(name, log)),
      );
      for (const subject of held.keys()) tenants.add(subject.split(".").at(-2) ?? "");
    }
    return [...tenants].sort();
  }

  /** See ActorClient.trimList. */
  async trim(
    tenant: string,
    name: string,
    log: number,
    { page, ids }: { readonly page: number; readonly ids: readonly string[] },
  ): Promise<void> {
    const { topology, writer, clock } = this.#options;
    const group = topology.groupOf(LIST_KIND);
    const body = encode(ListTrimSchema, create(ListTrimSchema, { page, ids: [...ids] }));
    const entry = create(EntrySchema, { kind: TRIM_KIND, tenant, key: name, method: TRIM_METHOD, body });
    await writer.append(group, log, entry, clock.monotonicMs() + TRIM_TIMEOUT_MS);
  }

  /** The open page, from its owner. */
  async #readHead(tenant: string, name: string, log: number): Promise<ListPage | undefined> {
    const { topology, reader } = this.#options;
    const group = topology.groupOf(LIST_KIND);
    const { record } = await reader.read(group, log, LIST_KIND, tenant, headKey(name, log));
    return record && decode(ListPageSchema, record.state);
  }

  /**
   * Closed pages do not change but for the oldest of a list that is trimmed: from the bucket, and from the owner only
   * that one and what is not there yet.
   */
  async #readPages(
    tenant: string,
    name: string,
    wanted: readonly WantedPage[],
  ): Promise<readonly (ListPage | undefined)[]> {
    const { bus, topology, reader } = this.#options;
    const keys = wanted.map(({ log, page }) => pageKey(name, log, page));
    const subjects = keys.map((key) => topology.record(LIST_KIND, tenant, key));
    const found = await bus.lastMany(topology.streams.actors, subjects);
    const group = topology.groupOf(LIST_KIND);
    return Promise.all(
      wanted.map(async ({ log, page, isOldest }, index) => {
        const isFixed = page === 0 || isOldest !== true;
        const bytes = isFixed ? found.get(subjects[index] ?? "")?.data : undefined;
        const record =
          decodeRecord(bytes) ?? (await reader.read(group, log, LIST_KIND, tenant, keys[index] ?? "")).record;
        return record && decode(ListPageSchema, record.state);
      }),
    );
  }
}

function headKey(name: string, log: number): string {
  return `${name}-${log}-head`;
}

function pageKey(name: string, log: number, page: number): string {
  return `${name}-${log}-${page}`;
}

/**
 * True while a page's worth of entries is not at hand, for entries of neighbouring pages may be out of order, or while
 * all at hand have one time: a commit with many inputs fills several pages with it, and their ids are in no order.
 */
function isThin({ page, first, entries }: Walk): boolean {
  if (page < first) return false;
  return entries.length < LIMITS.listPageEntriesMax || entries[0]?.createdMs === entries.at(-1)?.createdMs;
}

function newestFirst(a: ListEntry, b: ListEntry): number {
  if (a.createdMs !== b.createdMs) return a.createdMs > b.createdMs ? -1 : 1;
  return a.id === b.id ? 0 : a.id > b.id ? -1 : 1;
}

function isBehind(entry: ListEntry, after: ListCursor): boolean {
  const createdMs = Number(entry.createdMs);
  return createdMs < after.createdMs || (createdMs === after.createdMs && entry.id < after.id);
}

/** Adds those entries that are behind the cursor and new to the walk. */
function meet({ entries, known }: Walk, found: readonly ListEntry[], after: ListCursor | undefined): void {
  for (const entry of found) {
    const name = `${entry.createdMs} ${entry.id}`;
    if ((after !== undefined && !isBehind(entry, after)) || known.has(name)) continue;
    known.add(name);
    entries.push(entry);
  }
  entries.sort(newestFirst);
}

function newestOf(walks: readonly Walk[]): Walk | undefined {
  let newest: Walk | undefined;
  for (const walk of walks) {
    const [first] = walk.entries;
    const [best] = newest?.entries ?? [];
    if (first !== undefined && (best === undefined || newestFirst(first, best) < 0)) newest = walk;
  }
  return newest;
}

/** Pages between the bounds, evenly spread. */
function probesOf(low: number, high: number): readonly number[] {
  const step = Math.max(1, Math.ceil((high - low) / (PROBES + 1)));
  const pages: number[] = [];
  for (let page = low + step; page < high && pages.length < PROBES; page += step) pages.push(page);
  return pages;
}
