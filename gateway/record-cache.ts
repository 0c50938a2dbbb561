import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { LRUCache } from "lru-cache";
import type { ActorClient, Watch } from "../actors/runtime/index.ts";
import type { Clock } from "../platform/clock.ts";
import { readRecord } from "./record-read.ts";

/** Records of one kind that change rarely and are needed often. */
export interface RecordCache<S extends DescMessage> {
  /** From memory, or from the owner. Undefined: there is no such record. */
  get(tenant: string, key: string): Promise<MessageShape<S> | undefined>;
  /** Several at once, in the order of the keys. */
  getMany(tenant: string, keys: readonly string[]): Promise<readonly (MessageShape<S> | undefined)[]>;
  /** Takes in what this process has just written, ahead of the watch. */
  put(tenant: string, key: string, state: MessageShape<S>): void;
  close(): void;
}

export interface RecordCacheOptions<S extends DescMessage> {
  readonly client: ActorClient;
  readonly clock: Clock;
  readonly kind: string;
  readonly schema: S;
  /** Which of two states is newer. */
  readonly revisionOf: (state: MessageShape<S>) => bigint;
  /** Least recently used records go first. */
  readonly recordsMax: number;
  /** A record is read again after this, whatever the watch said: the bound on staleness if it was silent. */
  readonly ageMsMax: number;
  /** Remembers for as long that there is no such record; one made meanwhile shows within about 100 ms. */
  readonly keepsAbsent?: boolean;
}

interface Entry<S extends DescMessage> {
  readonly state: MessageShape<S> | undefined;
  readonly readMs: number;
}

/** Tenants that are watched; above it the records of a tenant are read each time. */
const TENANTS_MAX = 1_000;

/** One watch for each tenant keeps what is cached fresh; changes show within about 100 ms. */
export function createRecordCache<S extends DescMessage>(options: RecordCacheOptions<S>): RecordCache<S> {
  const { client, clock, kind, schema, revisionOf, recordsMax, ageMsMax, keepsAbsent = false } = options;
  const entries = new LRUCache<string, Entry<S>>({ max: recordsMax });
  const watches = new Map<string, { watch: Watch; isReady: boolean }>();
  // What is being read may change meanwhile: the watch must be heard for it already.
  const reading = new Map<string, number>();

  const put = (tenant: string, key: string, state: MessageShape<S> | undefined) => {
    const name = `${tenant}/${key}`;
    const known = entries.peek(name)?.state;
    if (known !== undefined && (state === undefined || revisionOf(known) > revisionOf(state))) return;
    entries.set(name, { state, readMs: clock.monotonicMs() });
  };

  /** True when changes of this tenant's records are told. */
  const follow = (tenant: string): boolean => {
    const known = watches.get(tenant);
    if (known !== undefined) return known.isReady;
    if (watches.size >= TENANTS_MAX) return false;
    const watch = client.watch(kind, schema, tenant, undefined, ({ key, state }) => {
      const name = `${tenant}/${key}`;
      if (state === undefined) entries.delete(name);
      else if (entries.peek(name) !== undefined || reading.has(name)) put(tenant, key, state);
    });
    const followed = { watch, isReady: false };
    watches.set(tenant, followed);
    void watch.ready.then(() => (followed.isReady = true));
    return false;
  };

  const cached = (tenant: string, key: string): Entry<S> | undefined => {
    if (!follow(tenant)) return undefined;
    const entry = entries.get(`${tenant}/${key}`);
    return entry !== undefined && clock.monotonicMs() - entry.readMs < ageMsMax ? entry : undefined;
  };

  const get = async (tenant: string, key: string) => {
    const found = cached(tenant, key);
    if (found !== undefined) return found.state;
    const name = `${tenant}/${key}`;
    // Before the watch is heard a change is missed, and what was read before it would stay.
    const isFollowed = follow(tenant);
    reading.set(name, (reading.get(name) ?? 0) + 1);
    try {
      const state = await readRecord(client, kind, schema, { tenant, key });
      if (isFollowed && (state !== undefined || keepsAbsent)) put(tenant, key, state);
      return state;
    } finally {
      const left = (reading.get(name) ?? 1) - 1;
      if (left > 0) reading.set(name, left);
      else reading.delete(name);
    }
  };
  return {
    get,
    getMany: (tenant, keys) => {
      const found = keys.map((key) => cached(tenant, key));
      return found.every((entry) => entry !== undefined)
        ? Promise.resolve(found.map(({ state }) => state))
        : Promise.all(keys.map((key) => get(tenant, key)));
    },
    put,
    close: () => {
      for (const { watch } of watches.values()) watch.close();
      watches.clear();
      entries.clear();
    },
  };
}
