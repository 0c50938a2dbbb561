import type { Clock } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import type { Random } from "../../../platform/random.ts";
import { Admission } from "./admission.ts";
import { type Bus, BusError } from "../bus/bus.ts";
import { type ActorClient, CallError } from "../client.ts";
import { ClientCalls } from "./client-calls.ts";
import { ClientDeadLetters } from "./client-dead-letters.ts";
import { ClientLists } from "./client-lists.ts";
import { ClientReads } from "./client-reads.ts";
import { EventHub } from "./event-hub.ts";
import { InboxDelay } from "./inbox-delay.ts";
import { InboxWriter, type InboxWriterOptions } from "../inbox-writer.ts";
import { LIMITS } from "../limits.ts";
import { LogReader } from "./log-reader.ts";
import { RecordHub } from "./record-hub.ts";
import { SeenLogs } from "./seen-logs.ts";
import type { Topology } from "../topology.ts";

/** What a client needs from outside. */
export interface ActorClientOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly topology: Topology;
  /** Unique among live processes; a random one by default. */
  readonly clientId?: string;
}

/** Opens the door to the actors; one per process. Close it, or its timers keep the process alive. */
export function createActorClient(options: ActorClientOptions): ActorClient {
  const { random, clientId = random.id() } = options;
  const seen = new SeenLogs();
  const delay = new InboxDelay(options.clock);
  const onStored: NonNullable<InboxWriterOptions["onStored"]> = (group, log, sequence, sinceMs) =>
    delay.stored(group, log, sequence, sinceMs);
  const writer = new InboxWriter({ ...options, onStored });
  const admission = new Admission({ ...options, writer, delay });
  const backlogAgeMs = (group: string, log: number) => admission.backlogAgeMs(group, log);
  const calls = new ClientCalls({ ...options, clientId, writer, seen, delay, backlogAgeMs });
  const reader = new LogReader({ ...options, seen });
  const reads = new ClientReads({ ...options, reader });
  const lists = new ClientLists({ ...options, reader, writer });
  const records = new RecordHub(options);
  const events = new EventHub(options);
  const deadLetters = new ClientDeadLetters({ ...options, writer });
  return Object.freeze<ActorClient>({
    call: (method, address, message, callOptions) => calls.call(method, address, message, callOptions),
    read: (kind, schema, address, timeoutMs) => reads.read(kind, schema, address, timeoutMs),
    readMany: (kind, schema, tenant, keys, timeoutMs) =>
      reads.readMany(kind, schema, tenant, keys, timeoutMs),
    changesSince: (kind, schema, tenant, sequence, countMax) =>
      reachable(reads.changesSince(kind, schema, tenant, sequence, countMax)),
    scan: (kind, schema, tenant, prefix, countMax) =>
      reachable(reads.scan(kind, schema, tenant, prefix, countMax)),
    list: (tenant, name, after, countMax, matches) =>
      reachable(lists.list(tenant, name, after, countMax, matches)),
    tenantsOf: (name) => reachable(lists.tenantsOf(name)),
    oldestPages: (tenant, name, log, fromPage, countMax) =>
      reachable(lists.oldestPages(tenant, name, log, fromPage, countMax)),
    trimList: (tenant, name, log, trim) => lists.trim(tenant, name, log, trim),
    watch: (kind, schema, tenant, key, listener) => records.watch(kind, schema, tenant, key, listener),
    watchEvents: (tenant, fromSequence, listener) => events.watch(tenant, fromSequence, listener),
    lastEvent: (kind, address, event) => reachable(events.last(kind, address, event)),
    history: (kind, address) => reachable(events.history(kind, address)),
    listDeadLetters: (tenant, countMax, after) => reachable(deadLetters.list(tenant, countMax, after)),
    getDeadLetter: (id) => reachable(deadLetters.get(id)),
    redriveDeadLetter: (id) => reachable(deadLetters.redrive(id)),
    discardDeadLetter: (id) => reachable(deadLetters.discard(id)),
    loads: () => admission.loads(),
    refusal: () => admission.refusal(),
    close: async () => {
      calls.close();
      writer.close();
      admission.close();
      records.close();
      events.close();
    },
  });
}

/** What NATS did not answer becomes an error of the client's own. */
async function reachable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    throw new CallError("unavailable", `NATS does not answer: ${error.message}`, LIMITS.retryDelayMsMax);
  }
}
