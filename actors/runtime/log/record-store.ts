import { sleep, type Clock } from "../../../platform/clock.ts";
import { BusError, type Bus, type StoredMessage } from "../bus/bus.ts";
import { LIMITS } from "../limits.ts";
import { RecordMap } from "./record-map.ts";
import { MemoryRecord, recordName } from "../step/record.ts";
import type { Topology } from "../topology.ts";

/** Address of a record. */
export interface RecordId {
  readonly kind: string;
  readonly tenant: string;
  readonly key: string;
}

/** A record's address, and the record once it was found. */
export interface RecordRef extends RecordId {
  record: MemoryRecord | undefined;
}

export function refOf({ kind, tenant, key }: RecordId): RecordRef {
  return { kind, tenant, key, record: undefined };
}

/** How much the store of one log may keep. */
export interface CacheOptions {
  /** Clean records kept in memory per log. */
  readonly recordsCachedMax: number;
}

/** What the store of one log needs. */
export interface RecordStoreOptions extends CacheOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly topology: Topology;
  readonly group: string;
  readonly log: number;
  readonly signal: AbortSignal;
  /**
   * Sequence in the bucket of the watermark that this owner last got acked (J17). What it says is not enough: a batch
   * that ends within a commit leaves that as it was.
   */
  readonly ackedMark: () => number;
  /** Called when records that were wanted have come. */
  readonly onLoaded: () => void;
}

/** Subjects of one cold read: the server's limit is 1,024, one is the watermark. */
const LOAD_KEYS_MAX = 1_000;

/**
 * The records of one log in its owner's memory: those changed since the last projection (never evicted) and a bounded
 * number of clean ones, absent ones included. Belongs to one epoch and dies with it.
 */
export class RecordStore {
  readonly #options: RecordStoreOptions;
  readonly #records = new RecordMap();
  /** Changed and not projected, with the log sequence of the first such change; oldest first. */
  #dirty = new Map<MemoryRecord, number>();
  /** By name. */
  readonly #wanted = new Map<string, RecordId>();
  #isLoading = false;

  constructor(options: RecordStoreOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#records.size;
  }

  get dirtyCount(): number {
    return this.#dirty.size;
  }

  /** The record, if it is in memory; absent ones that are known to be absent are. */
  get(id: RecordId): MemoryRecord | undefined {
    const record = this.#records.get(id);
    if (record !== undefined) record.isUsed = true;
    return record;
  }

  /** The same as {@link get}, which the reference remembers. */
  find(ref: RecordRef): MemoryRecord | undefined {
    const { record } = ref;
    if (record === undefined || record.isForgotten) {
      ref.record = this.get(ref);
      return ref.record;
    }
    record.isUsed = true;
    return record;
  }

  /** Adds a record that cannot exist in the bucket, or one that replay has read. */
  add(id: RecordId, committed?: Uint8Array): MemoryRecord {
    const record = new MemoryRecord(id.kind, id.tenant, id.key, committed);
    this.#records.add(record);
    return record;
  }

  /** Asks for a record; `onLoaded` tells when it is there. One load per key. */
  want(id: RecordId): void {
    if (this.#records.get(id) !== undefined) return;
    this.#wanted.set(recordName(id.kind, id.tenant, id.key), id);
    if (!this.#isLoading) void this.#pump();
  }

  /** The record was changed by the commit with this sequence. */
  markDirty(record: MemoryRecord, logSequence: number): void {
    if (!this.#dirty.has(record)) this.#dirty.set(record, logSequence);
  }

  /** Up to `countMax` dirty records, those whose first unprojected change is oldest first. */
  takeDirty(
    countMax: number,
    bytesMax: number,
  ): { readonly records: ReadonlyMap<MemoryRecord, number>; readonly nextFirst: number | undefined } {
    const taken = new Map<MemoryRecord, number>();
    let bytes = 0;
    let nextFirst: number | undefined;
    for (const [record, first] of this.#dirty) {
      bytes += record.committed.length + 256;
      if (taken.size >= countMax || (bytes > bytesMax && taken.size > 0)) {
        nextFirst = first;
        break;
      }
      taken.set(record, first);
    }
    for (const record of taken.keys()) this.#dirty.delete(record);
    return { records: taken, nextFirst };
  }

  /** The batch failed: its records are dirty as before. */
  putBackDirty(records: ReadonlyMap<MemoryRecord, number>): void {
    this.#dirty = new Map([...records, ...[...this.#dirty].filter(([record]) => !records.has(record))]);
  }

  /** Frees what is clean and has not been used since the last round. */
  evict(): void {
    const { recordsCachedMax } = this.#options;
    if (this.#records.size <= recordsCachedMax) return;
    this.#records.evict(recordsCachedMax * 0.9, (record) => this.#dirty.has(record) || record.isHeld);
  }

  async #pump(): Promise<void> {
    this.#isLoading = true;
    try {
      while (this.#wanted.size > 0 && !this.#options.signal.aborted) {
        const ids = [...this.#wanted.values()].slice(0, LOAD_KEYS_MAX);
        const found = await this.#load(ids);
        if (this.#options.signal.aborted) return;
        for (const id of ids) {
          this.#wanted.delete(recordName(id.kind, id.tenant, id.key));
          if (this.#records.get(id) === undefined) this.add(id, found.get(this.#subject(id))?.data);
        }
        this.#options.onLoaded();
      }
    } finally {
      this.#isLoading = false;
    }
  }

  #subject({ kind, tenant, key }: RecordId): string {
    return this.#options.topology.record(kind, tenant, key);
  }

  /**
   * J17: records and watermark in one read, accepted only if it is complete and not older than what we know is
   * stored.
   */
  async #load(ids: readonly RecordId[]): Promise<ReadonlyMap<string, StoredMessage>> {
    const { bus, clock, topology, group, log, signal, ackedMark } = this.#options;
    const mark = topology.mark(group, log);
    const subjects = [...ids.map((id) => this.#subject(id)), mark];
    const known = ackedMark();
    for (let delayMs = 5; !signal.aborted; delayMs = Math.min(delayMs * 2, LIMITS.retryDelayMs)) {
      try {
        const found = await bus.lastMany(topology.streams.actors, subjects);
        const stored = found.get(mark);
        if (stored !== undefined && stored.sequence >= known) return found;
      } catch (error) {
        if (!(error instanceof BusError)) throw error;
      }
      await sleep(clock, delayMs, signal);
    }
    return new Map();
  }
}
