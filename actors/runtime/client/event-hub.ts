import type { DescMessage } from "@bufbuild/protobuf";
import { type Clock, sleep, type TimerHandle } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import { type Bus, BusError, type StoredMessage, type Subscription } from "../bus/bus.ts";
import { type ActorAddress, CallError, type StoredEvent, type Watch } from "../client.ts";
import { EVENT_HEADERS, eventName, EventPlaces, readEvent } from "../event-message.ts";
import { LIMITS } from "../limits.ts";
import type { Topology } from "../topology.ts";

/** What the hub needs from outside. */
export interface EventHubOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  readonly topology: Topology;
}

const LISTENERS_MAX = 50_000;
/** Stored events read at a time while a watcher catches up. */
const CATCH_UP_COUNT = 256;
/** New events kept for a watcher that catches up; beyond it they are read from the stream like the older ones. */
const PENDING_MAX = 1_024;
/** Events of one actor that `history` returns, the oldest ones. */
const HISTORY_MAX = 4_096;
const READER_GRACE_MS = 30_000;
const BUSY_RETRY_AFTER_MS = 5_000;

interface Listener {
  readonly tenant: string;
  readonly notify: (event: StoredEvent) => void;
  /** What it has been told; kept only by those that read stored events. */
  readonly places: EventPlaces | undefined;
  /** New events while it catches up; undefined once it is live. */
  pending: StoredMessage[] | undefined;
  hasOverflowed: boolean;
  isClosed: boolean;
}

interface Live {
  readonly reader: Subscription;
  readonly ready: Promise<void>;
  readonly places: EventPlaces;
}

/** Events as they are stored: one reader for all watchers of a process, started with the first. */
export class EventHub {
  readonly #options: EventHubOptions;
  readonly #tenants = new Map<string, Set<Listener>>();
  #count = 0;
  #live: Live | undefined;
  #grace: TimerHandle | undefined;

  constructor(options: EventHubOptions) {
    this.#options = options;
  }

  /** See ActorClient.watchEvents. */
  watch(tenant: string, fromSequence: number | undefined, notify: (event: StoredEvent) => void): Watch {
    if (this.#count >= LISTENERS_MAX) {
      throw new CallError(
        "overloaded",
        `${LISTENERS_MAX} watches are open in this process`,
        BUSY_RETRY_AFTER_MS,
      );
    }
    this.#grace?.cancel();
    this.#grace = undefined;
    this.#live ??= this.#open();
    const isLive = fromSequence === undefined;
    const listener: Listener = {
      tenant,
      notify,
      places: isLive ? undefined : new EventPlaces(),
      pending: isLive ? undefined : [],
      hasOverflowed: false,
      isClosed: false,
    };
    this.#tenants.set(tenant, (this.#tenants.get(tenant) ?? new Set()).add(listener));
    this.#count++;
    const { ready } = this.#live;
    if (!isLive) void ready.then(() => this.#catchUp(listener, fromSequence));
    return { ready, close: () => this.#leave(listener) };
  }

  /** See ActorClient.lastEvent. */
  async last(
    kind: string,
    { tenant, key }: ActorAddress,
    { typeName }: DescMessage,
  ): Promise<StoredEvent | undefined> {
    const { bus, topology } = this.#options;
    const subject = topology.event(tenant, kind, key, eventName(typeName));
    const message = await bus.last(topology.streams.events, subject);
    return message && readEvent(message);
  }

  /** See ActorClient.history. */
  async history(kind: string, { tenant, key }: ActorAddress): Promise<readonly StoredEvent[]> {
    const { bus, topology } = this.#options;
    const filter = topology.event(tenant, kind, key, ">");
    const places = new EventPlaces();
    const events: StoredEvent[] = [];
    for (let next = 1; events.length < HISTORY_MAX;) {
      const messages = await bus.range(topology.streams.events, filter, next, CATCH_UP_COUNT);
      for (const message of messages) {
        if (places.isNew(message)) events.push(readEvent(message));
        next = message.sequence + 1;
      }
      if (messages.length < CATCH_UP_COUNT) break;
    }
    return events.slice(0, HISTORY_MAX);
  }

  close(): void {
    this.#grace?.cancel();
    this.#live?.reader.close();
    this.#live = undefined;
    for (const listeners of this.#tenants.values())
      for (const listener of listeners) listener.isClosed = true;
    this.#tenants.clear();
  }

  #open(): Live {
    const { bus, topology } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const places = new EventPlaces();
    const reader = bus.read({
      stream: topology.streams.events,
      filters: [topology.event("*", "*", "*", ">")],
      from: "new",
      headerNames: EVENT_HEADERS,
      onMessage: (message) => this.#onMessage(places, message),
      onCaughtUp: resolve,
    });
    return { reader, ready: promise, places };
  }

  #leave(listener: Listener): void {
    if (listener.isClosed) return;
    listener.isClosed = true;
    listener.pending = undefined;
    const listeners = this.#tenants.get(listener.tenant);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.#tenants.delete(listener.tenant);
    if (--this.#count > 0) return;
    this.#grace = this.#options.clock.setTimer(() => {
      this.#live?.reader.close();
      this.#live = undefined;
    }, READER_GRACE_MS);
  }

  #onMessage(places: EventPlaces, message: StoredMessage): void {
    if (!places.isNew(message)) return;
    const event = readEvent(message);
    const listeners = this.#tenants.get(event.tenant);
    if (listeners === undefined) return;
    for (const listener of listeners) {
      if (listener.pending === undefined) {
        if (listener.places?.isNew(message) !== false) this.#tell(listener, event);
      } else if (listener.pending.length < PENDING_MAX) listener.pending.push(message);
      else {
        listener.pending.length = 0;
        listener.hasOverflowed = true;
      }
    }
  }

  /** Reads stored events until there are none, then goes on with what came meanwhile: no gap, no repeat. */
  async #catchUp(listener: Listener, fromSequence: number): Promise<void> {
    const { bus, topology, clock, log } = this.#options;
    const filter = topology.event(listener.tenant, "*", "*", ">");
    for (let next = fromSequence; !listener.isClosed;) {
      try {
        listener.hasOverflowed = false;
        const messages = await bus.range(topology.streams.events, filter, next, CATCH_UP_COUNT);
        for (const message of messages) {
          this.#deliver(listener, message);
          next = message.sequence + 1;
        }
        if (messages.length === CATCH_UP_COUNT) continue;
        const isComplete = await this.#isComplete(listener, filter, next);
        if (!isComplete && messages.length === 0) await sleep(clock, LIMITS.retryDelayMs);
        if (!isComplete || listener.hasOverflowed) continue;
        const pending = listener.pending ?? [];
        listener.pending = undefined;
        for (const message of pending) if (message.sequence >= next) this.#deliver(listener, message);
        return;
      } catch (error) {
        if (!(error instanceof BusError)) log.error({ err: error }, "watcher of events failed");
        await sleep(clock, LIMITS.retryDelayMs);
      }
    }
  }

  /**
   * True if nothing is stored between what has been read and what comes live. That nothing more was found proves
   * nothing: a replica that lags has answered.
   */
  async #isComplete({ pending }: Listener, filter: string, next: number): Promise<boolean> {
    const firstLive = pending?.[0];
    if (firstLive !== undefined && firstLive.sequence < next) return true;
    const { bus, topology } = this.#options;
    const newest = await bus.last(topology.streams.events, filter);
    return newest === undefined || newest.sequence < next;
  }

  #deliver(listener: Listener, message: StoredMessage): void {
    if (listener.isClosed || listener.places?.isNew(message) === false) return;
    this.#tell(listener, readEvent(message));
  }

  #tell(listener: Listener, event: StoredEvent): void {
    try {
      listener.notify(event);
    } catch (error) {
      this.#options.log.error({ err: error, tenant: event.tenant }, "watcher of events failed");
    }
  }
}
