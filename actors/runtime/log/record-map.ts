import type { RecordId } from "./record-store.ts";
import type { MemoryRecord } from "../step/record.ts";

/**
 * Records by tenant, key and kind. Names that join the three are new texts each time, and hashing and comparing them
 * costs twice as much as looking two short texts up; the kinds that share a key are few.
 */
export class RecordMap {
  /** Of each key the first of its records, which hang together as siblings. */
  readonly #byTenant = new Map<string, Map<string, MemoryRecord>>();
  /** Of the tenant that was asked for last: those who follow are mostly of the same. */
  #tenant = "";
  #ofTenant: ReadonlyMap<string, MemoryRecord> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get({ kind, tenant, key }: RecordId): MemoryRecord | undefined {
    if (tenant !== this.#tenant || this.#ofTenant === undefined) {
      this.#ofTenant = this.#byTenant.get(tenant);
      this.#tenant = tenant;
    }
    let record = this.#ofTenant?.get(key);
    while (record !== undefined && record.kind !== kind) record = record.sibling;
    return record;
  }

  /** Adds a record; one with the same name is forgotten. */
  add(record: MemoryRecord): void {
    const { kind, tenant, key } = record;
    const byKey = this.#byTenant.get(tenant) ?? new Map<string, MemoryRecord>();
    this.#byTenant.set(tenant, byKey);
    record.sibling = byKey.get(key);
    byKey.set(key, record);
    this.#size++;
    for (let last = record; last.sibling !== undefined; last = last.sibling) {
      const { sibling } = last;
      if (sibling.kind !== kind) continue;
      last.sibling = sibling.sibling;
      this.#forget(sibling);
      return;
    }
  }

  /** Forgets records that nothing needs, oldest first, until so many are left; used ones get a second chance. */
  evict(sizeMax: number, isNeeded: (record: MemoryRecord) => boolean): void {
    for (let round = 0; round < 2; round++) {
      let tenants = this.#byTenant.size; // what has had its turn comes again at the end
      for (const [tenant, byKey] of this.#byTenant) {
        if (tenants-- === 0) break;
        let keys = byKey.size;
        for (const [key, first] of byKey) {
          if (this.#size <= sizeMax) return;
          if (keys-- === 0) break;
          this.#sweep(byKey, key, first, isNeeded);
        }
        this.#byTenant.delete(tenant);
        if (byKey.size > 0) this.#byTenant.set(tenant, byKey);
        else this.#ofTenant = undefined;
      }
    }
  }

  #sweep(
    byKey: Map<string, MemoryRecord>,
    key: string,
    first: MemoryRecord,
    isNeeded: (record: MemoryRecord) => boolean,
  ): void {
    let kept: MemoryRecord | undefined;
    let staysInPlace = false;
    for (let record: MemoryRecord | undefined = first; record !== undefined;) {
      const next: MemoryRecord | undefined = record.sibling;
      const isKept = isNeeded(record);
      if (isKept || record.isUsed) {
        if (isKept) staysInPlace = true;
        else record.isUsed = false;
        record.sibling = kept;
        kept = record;
      } else {
        this.#forget(record);
      }
      record = next;
    }
    if (!staysInPlace) byKey.delete(key);
    if (kept !== undefined) byKey.set(key, kept);
  }

  #forget(record: MemoryRecord): void {
    record.isForgotten = true;
    record.sibling = undefined;
    this.#size--;
  }
}
