import { DefectError } from "./assert.ts";

/** A group of kinds: its logs are the units of ownership, commit and fencing. */
export interface GroupConfig {
  readonly name: string;
  /** Fixed when the group is created. */
  readonly logs: number;
  /** A projection group reads EVENTS, others read INBOX. */
  readonly reads: "inbox" | "events";
}

/** Kinds that a group other than `core` holds. */
const GROUP_BY_KIND: Readonly<Record<string, string>> = { analytics: "analytics" };

/** Logs of a group unless it is said how many. */
const LOGS = 1;

const TOKEN = /^[a-z0-9][a-z0-9_-]{0,62}$/;
const KEY_TOKEN = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/;

/** True for names of kinds, tenants, groups and queues. */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** True for keys of actors: as tokens, capitals allowed, at most 128 characters. */
export function isKey(text: string): boolean {
  return KEY_TOKEN.test(text);
}

/** All names of streams, subjects, buckets and consumers. No other module spells one. */
export interface Topology {
  readonly groups: readonly GroupConfig[];
  readonly streams: {
    readonly inbox: string;
    readonly log: string;
    readonly actors: string;
    readonly tasks: string;
    readonly events: string;
    readonly dead: string;
    readonly leases: string;
  };
  group(name: string): GroupConfig;
  groupOf(kind: string): string;
  /** Log of an actor in its group: a hash of tenant and key, without the kind. A projection's log is its tenant's. */
  logOf(group: string, tenant: string, key: string): number;
  /** `*` as a log or token makes a filter. */
  inbox(group: string, log: number | "*"): string;
  timer(group: string, log: number | "*", kind: string, tenant: string, key: string, arm: string): string;
  log(group: string, log: number | "*"): string;
  record(kind: string, tenant: string, key: string): string;
  mark(group: string, log: number): string;
  task(queue: string, tenant: string, key: string, id: string): string;
  /** Several tasks of one commit in one message. */
  taskBundle(queue: string, group: string, log: number, id: string): string;
  retry(queue: string, tenant: string, key: string, id: string): string;
  event(tenant: string, kind: string, key: string, event: string): string;
  eventMark(group: string, log: number | "*"): string;
  dead(kind: string, tenant: string, key: string, id: string): string;
  lease(group: string, worker: string): string;
  /** Core subjects. */
  read(group: string, log: number): string;
  load(group: string, log: number): string;
  worker(group: string, worker: string): string;
  replies(client: string): string;
  /** Durable consumer of a task queue. */
  consumer(queue: string): string;
  /** Subjects of all logs, all events, the leases of a group. */
  readonly filters: { readonly logs: string; readonly events: string; leases(group: string): string };
}

const FNV_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** FNV-1a over UTF-8, 32 bits: the hash that NATS' own partition mapping uses. */
export function fnv1a(text: string): number {
  let hash = FNV_BASIS;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code > 0x7f) return fnv1aOf(Buffer.from(text, "utf8"));
    hash = Math.imul(hash ^ code, FNV_PRIME);
  }
  return hash >>> 0;
}

function fnv1aOf(bytes: Uint8Array): number {
  let hash = FNV_BASIS;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, FNV_PRIME);
  return hash >>> 0;
}

/**
 * @param options.shard suffix of one set of streams; empty for the first
 * @param options.logs of each group: so many workers of a group can share its work. Bundles and commits get smaller by
 * their number. Those of streams that are there: `storedTopology`
 */
export function createTopology(
  options: { readonly shard?: string; readonly logs?: number; readonly analyticsLogs?: number } = {},
): Topology {
  const { shard = "", logs = LOGS, analyticsLogs = logs } = options;
  const suffix = shard === "" ? "" : `_${shard}`;
  const dot = shard === "" ? "" : `${shard}.`;
  const groups: readonly GroupConfig[] = [
    { name: "core", logs, reads: "inbox" },
    { name: "analytics", logs: analyticsLogs, reads: "events" },
  ];
  const byName = new Map(groups.map((config) => [config.name, config]));
  const group = (name: string) => {
    const found = byName.get(name);
    if (found === undefined) throw new DefectError(`there is no group ${name}`);
    return found;
  };
  const bucket = `actors${suffix}`;
  return {
    groups,
    streams: {
      inbox: `INBOX${suffix}`,
      log: `LOG${suffix}`,
      actors: `KV_${bucket}`,
      tasks: `TASKS${suffix}`,
      events: `EVENTS${suffix}`,
      dead: `DEAD${suffix}`,
      leases: `KV_leases${suffix}`,
    },
    group,
    groupOf: (kind) => GROUP_BY_KIND[kind] ?? "core",
    logOf: (name, tenant, key) => {
      const { logs: count, reads } = group(name);
      if (count === 1) return 0;
      return fnv1a(reads === "events" ? tenant : `${tenant}/${key}`) % count;
    },
    inbox: (g, l) => `${dot}inbox.${g}.${l}`,
    timer: (g, l, kind, tenant, key, arm) => `${dot}timer.${g}.${l}.${kind}.${tenant}.${key}.${arm}`,
    log: (g, l) => `${dot}log.${g}.${l}`,
    record: (kind, tenant, key) => `$KV.${bucket}.${kind}.${tenant}.${key}`,
    mark: (g, l) => `$KV.${bucket}.mark.${g}.${l}`,
    task: (queue, tenant, key, id) => `${dot}task.${queue}.${tenant}.${key}.${id}`,
    taskBundle: (queue, g, l, id) => `${dot}task.${queue}.bundle.${g}-${l}.${id}`,
    retry: (queue, tenant, key, id) => `${dot}retry.${queue}.${tenant}.${key}.${id}`,
    event: (tenant, kind, key, event) => `${dot}ev.${tenant}.${kind}.${key}.${event}`,
    eventMark: (g, l) => `${dot}evmark.${g}.${l}`,
    dead: (kind, tenant, key, id) => `${dot}dead.${kind}.${tenant}.${key}.${id}`,
    lease: (g, worker) => `$KV.leases${suffix}.${g}.${worker}`,
    read: (g, l) => `${dot}read.${g}.${l}`,
    load: (g, l) => `${dot}load.${g}.${l}`,
    worker: (g, worker) => `${dot}worker.${g}.${worker}`,
    replies: (client) => `${dot}reply.${client}`,
    consumer: (queue) => `tasks-${queue}`,
    filters: {
      logs: `${dot}log.>`,
      events: `${dot}ev.>`,
      leases: (g) => `$KV.leases${suffix}.${g}.*`,
    },
  };
}
