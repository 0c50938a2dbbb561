import type { DescMessage } from "@bufbuild/protobuf";
import type { Clock, TimerHandle } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import type { Bus, StoredMessage, Subscription } from "../bus/bus.ts";
import { CallError, type RecordUpdate, type Watch } from "../client.ts";
import { recordUpdate } from "./client-reads.ts";
import type { Topology } from "../topology.ts";

/** What the hub needs from outside. */
export interface RecordHubOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  readonly topology: Topology;
}

/** Watchers of one process; more are refused as overloaded. */
const LISTENERS_MAX = 50_000;
/** How long a kind's reader outlives its last watcher: the next one starts at once. */
const READER_GRACE_MS = 30_000;
const BUSY_RETRY_AFTER_MS = 5_000;

type Listener = {
  readonly schema: DescMessage;
  readonly notify: (update: RecordUpdate<DescMessage>) => void;
};

interface KindHub {
  readonly kind: string;
  /** By `tenant/key`, and by `tenant/` for all of a tenant. */
  readonly listeners: Map<string, Set<Listener>>;
  readonly reader: Subscription;
  readonly ready: Promise<void>;
  count: number;
  grace: TimerHandle | undefined;
}

/** Changes of records, fanned out: one reader per kind however many watch. */
export class RecordHub {
  readonly #options: RecordHubOptions;
  readonly #kinds = new Map<string, KindHub>();
  #count = 0;

  constructor(options: RecordHubOptions) {
    this.#options = options;
  }

  /** See ActorClient.watch. */
  watch<S extends DescMessage>(
    kind: string,
    schema: S,
    tenant: string,
    key: string | undefined,
    listener: (update: RecordUpdate<S>) => void,
  ): Watch {
    if (this.#count >= LISTENERS_MAX) {
      throw new CallError(
        "overloaded",
        `${LISTENERS_MAX} watches are open in this process`,
        BUSY_RETRY_AFTER_MS,
      );
    }
    const hub = this.#kinds.get(kind) ?? this.#open(kind);
    const entry: Listener = { schema, notify: listener as unknown as Listener["notify"] };
    const name = `${tenant}/${key ?? ""}`;
    const listeners = hub.listeners.get(name) ?? new Set();
    hub.listeners.set(name, listeners.add(entry));
    hub.count++;
    this.#count++;
    hub.grace?.cancel();
    hub.grace = undefined;
    return { ready: hub.ready, close: () => this.#leave(hub, name, entry) };
  }

  close(): void {
    for (const hub of this.#kinds.values()) {
      hub.grace?.cancel();
      hub.reader.close();
    }
    this.#kinds.clear();
  }

  #open(kind: string): KindHub {
    const { bus, topology } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const listeners: KindHub["listeners"] = new Map();
    const reader = bus.read({
      stream: topology.streams.actors,
      filters: [topology.record(kind, "*", "*")],
      from: "new",
      onMessage: (message) => this.#onMessage(listeners, message),
      onCaughtUp: resolve,
    });
    const hub: KindHub = { kind, listeners, reader, ready: promise, count: 0, grace: undefined };
    this.#kinds.set(kind, hub);
    return hub;
  }

  #leave(hub: KindHub, name: string, entry: Listener): void {
    const listeners = hub.listeners.get(name);
    if (!listeners?.delete(entry)) return;
    if (listeners.size === 0) hub.listeners.delete(name);
    hub.count--;
    this.#count--;
    if (hub.count > 0 || this.#kinds.get(hub.kind) !== hub) return;
    hub.grace = this.#options.clock.setTimer(() => {
      this.#kinds.delete(hub.kind);
      hub.reader.close();
    }, READER_GRACE_MS);
  }

  #onMessage(listeners: KindHub["listeners"], message: StoredMessage): void {
    const [key = "", tenant = ""] = message.subject.split(".").reverse();
    const one = listeners.get(`${tenant}/${key}`);
    const all = listeners.get(`${tenant}/`);
    if (one === undefined && all === undefined) return;
    const decoded = new Map<DescMessage, RecordUpdate<DescMessage>>();
    for (const listener of [...(one ?? []), ...(all ?? [])]) {
      try {
        const update = decoded.get(listener.schema) ?? recordUpdate(listener.schema, message);
        decoded.set(listener.schema, update);
        listener.notify(update);
      } catch (error) {
        this.#options.log.error({ err: error, subject: message.subject }, "watcher failed");
      }
    }
  }
}
