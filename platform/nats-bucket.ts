import { jetstream } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/transport-node";

/** The newest value of a key. */
export interface BucketEntry {
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: number;
  /** When it was stored, by the server's clock. */
  readonly storedMs: number;
}

/** A key-value bucket as every other NATS client sees it, to look at. What has to be exact goes over the bus. */
export interface Bucket {
  readonly values: number;
  readonly bytes: number;
  readonly replicas: number;
  /** Keys that match a filter such as `order.demo.*`, in no order; no more than `countMax`. */
  keys(filter: string, countMax: number): Promise<readonly string[]>;
  /** Undefined if there is no such key, or it is deleted. */
  get(key: string): Promise<BucketEntry | undefined>;
}

const TIMEOUT_MS = 3_000;

/** Opens a bucket that exists; makes none. @throws Error when there is none */
export async function openBucket(nc: NatsConnection, name: string): Promise<Bucket> {
  const kv: KV = await new Kvm(jetstream(nc, { timeout: TIMEOUT_MS })).open(name);
  const { values, size, replicas } = await kv.status();
  return {
    values,
    bytes: size,
    replicas,
    keys: async (filter, countMax) => {
      const found: string[] = [];
      for await (const key of await kv.keys(filter)) {
        found.push(key);
        if (found.length >= countMax) break;
      }
      return found;
    },
    get: async (key) => {
      const entry = await kv.get(key);
      if (entry === null || entry.operation !== "PUT") return undefined;
      const { value, revision, created } = entry;
      return { key, value, revision, storedMs: created.getTime() };
    },
  };
}
