import { type DescMessage } from "@bufbuild/protobuf";
import { type Clock, sleep } from "../../../platform/clock.ts";
import { assert } from "../assert.ts";
import { type Bus, BusError, type StoredMessage } from "../bus/bus.ts";
import type { ActorAddress, ReadResult, RecordUpdate } from "../client.ts";
import { LIMITS } from "../limits.ts";
import { decodeRecord, type LogReader, type RawRead } from "./log-reader.ts";
import { isKey, isToken, type Topology } from "../topology.ts";
import { decode } from "../codec/decode.ts";

/** What the reads need from outside. */
export interface ClientReadsOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly topology: Topology;
  readonly reader: LogReader;
}

/** Records of one multi-get: a full answer stays within the server's bounds. */
const RECORDS_PER_GET_MAX = 256;

/** Reads of single records, of several and of whole bounded sets. */
export class ClientReads {
  readonly #options: ClientReadsOptions;

  constructor(options: ClientReadsOptions) {
    this.#options = options;
  }

  /** See ActorClient.read. */
  async read<S extends DescMessage>(
    kind: string,
    schema: S,
    address: ActorAddress,
    timeoutMs?: number,
  ): Promise<ReadResult<S>> {
    return readResult(schema, await this.#read(kind, address.tenant, address.key, timeoutMs));
  }

  /** See ActorClient.readMany. */
  async readMany<S extends DescMessage>(
    kind: string,
    schema: S,
    tenant: string,
    keys: readonly string[],
    timeoutMs?: number,
  ): Promise<ReadonlyMap<string, ReadResult<S>>> {
    const reads = await Promise.all(keys.map((key) => this.#read(kind, tenant, key, timeoutMs)));
    const results = new Map<string, ReadResult<S>>();
    for (const [index, key] of keys.entries()) {
      const raw = reads[index];
      if (raw) results.set(key, readResult(schema, raw));
    }
    return results;
  }

  /** See ActorClient.scan. Sorted by key. */
  async scan<S extends DescMessage>(
    kind: string,
    schema: S,
    tenant: string,
    prefix: string,
    countMax: number,
  ): Promise<readonly RecordUpdate<S>[]> {
    const { bus, topology } = this.#options;
    const { actors } = topology.streams;
    const start = topology.record(kind, tenant, prefix);
    const held = await bus.subjects(actors, topology.record(kind, tenant, "*"));
    const subjects = [...held.keys()].filter((subject) => subject.startsWith(start)).sort();
    const updates: RecordUpdate<S>[] = [];
    for (let at = 0; at < subjects.length && updates.length < countMax; at += RECORDS_PER_GET_MAX) {
      const chunk = subjects.slice(at, at + RECORDS_PER_GET_MAX);
      const found = await bus.lastMany(actors, chunk);
      for (const subject of chunk) {
        const message = found.get(subject);
        const update = message && recordUpdate(schema, message);
        if (update?.state !== undefined && updates.length < countMax) updates.push(update);
      }
    }
    return updates;
  }

  /** See ActorClient.changesSince. */
  async changesSince<S extends DescMessage>(
    kind: string,
    schema: S,
    tenant: string,
    sequence: number,
    countMax: number,
  ): Promise<readonly RecordUpdate<S>[] | undefined> {
    const { bus, clock, topology } = this.#options;
    const { actors } = topology.streams;
    if (sequence > (await bus.status(actors)).lastSequence) return undefined;
    const filter = topology.record(kind, tenant, "*");
    const untilMs = clock.monotonicMs() + LIMITS.readTimeoutMs;
    const updates: RecordUpdate<S>[] = [];
    for (let next = sequence + 1; ;) {
      const page = await bus.range(actors, filter, next, RECORDS_PER_GET_MAX);
      for (const message of page) {
        const update = recordUpdate(schema, message);
        if (update !== undefined) updates.push(update);
        next = message.sequence + 1;
      }
      if (updates.length > countMax) return undefined;
      if (page.length > 0) continue;
      // That no more was found proves nothing: a replica that lags has answered.
      const newest = await bus.last(actors, filter);
      if (newest === undefined || newest.sequence < next) return updates;
      if (clock.monotonicMs() > untilMs) throw new BusError(`${actors} is answered by replicas that lag`);
      await sleep(clock, LIMITS.retryDelayMs);
    }
  }

  async #read(kind: string, tenant: string, key: string, timeoutMs?: number): Promise<RawRead> {
    assert(
      isToken(kind) && isToken(tenant) && isKey(key),
      `${kind}/${tenant}/${key} is not the name of an actor`,
    );
    const { topology, reader } = this.#options;
    const group = topology.groupOf(kind);
    return reader.read(group, topology.logOf(group, tenant, key), kind, tenant, key, timeoutMs);
  }
}

function readResult<S extends DescMessage>(schema: S, { record, asOfMs }: RawRead): ReadResult<S> {
  if (record === undefined) return { state: undefined, revision: 0n, createdMs: 0, updatedMs: 0, asOfMs };
  return {
    state: decode(schema, record.state),
    revision: record.revision,
    createdMs: Number(record.createdMs),
    updatedMs: Number(record.nowMs),
    asOfMs,
  };
}

/** A message of the bucket as a change of its record. */
export function recordUpdate<S extends DescMessage>(schema: S, message: StoredMessage): RecordUpdate<S> {
  const [key = "", tenant = "", kind = ""] = message.subject.split(".").reverse();
  const { sequence, timestampMs } = message;
  const record = decodeRecord(message.data);
  if (record === undefined) {
    return { kind, tenant, key, state: undefined, revision: 0n, sequence, updatedMs: timestampMs };
  }
  const state = decode(schema, record.state);
  return { kind, tenant, key, state, revision: record.revision, sequence, updatedMs: Number(record.nowMs) };
}
