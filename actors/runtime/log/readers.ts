import type { Clock } from "../../../platform/clock.ts";
import { BundleSchema, type Addressed } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Bus, StoredMessage, Subscription } from "../bus/bus.ts";
import { TO_HEADER } from "./draft.ts";
import type { InputSource } from "./inputs.ts";
import { decodeCommit } from "./journal.ts";
import { EVENT_HEADERS, EventPlaces, readEvent } from "../event-message.ts";
import { LIMITS } from "../limits.ts";
import type { LogOwner } from "./log-owner.ts";
import type { Topology } from "../topology.ts";
import { decode } from "../codec/decode.ts";

/** What readers need. */
export interface ReadersOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly topology: Topology;
  readonly group: string;
}

const NOBODY: readonly string[] = [];

/**
 * Feeds the inputs of one worker's logs: its inbox subject for each log, and one shared reader of LOG (or EVENTS)
 * for all. A reader stops while a log has too many inputs waiting, and starts again behind what it has seen.
 */
export class Readers {
  readonly #options: ReadersOptions;
  readonly #owners = new Map<number, LogOwner>();
  readonly #inboxes = new Map<number, Subscription>();
  #shared: Subscription | undefined;
  /** Sequence that the shared reader delivers next. */
  #sharedNext = Infinity;
  readonly #sharedSource: InputSource;
  #isSharedCaughtUp = false;
  /**
   * LOG is read without its data: in a group of one log nobody writes to it but its owner, who knows the commits, until
   * another group has a message for it.
   */
  #isWithoutData: boolean;
  /** What each log has had of the events, by where they come from. */
  readonly #places = new Map<number, EventPlaces>();

  constructor(options: ReadersOptions) {
    this.#options = options;
    const { reads, logs } = options.topology.group(options.group);
    this.#sharedSource = reads === "inbox" ? "log" : "events";
    this.#isWithoutData = reads === "inbox" && logs === 1;
  }

  add(owner: LogOwner): void {
    this.#owners.set(owner.log, owner);
    this.#places.set(owner.log, new EventPlaces());
    this.#openInbox(owner);
    const next = owner.queue.seen(this.#sharedSource) + 1;
    if (this.#shared === undefined || next < this.#sharedNext) this.#openShared();
    else if (this.#isSharedCaughtUp) owner.caughtUp(this.#sharedSource);
  }

  remove(log: number): void {
    this.#owners.delete(log);
    this.#places.delete(log);
    this.#inboxes.get(log)?.close();
    this.#inboxes.delete(log);
    if (this.#owners.size === 0) this.#closeShared();
  }

  /** Starts what was stopped for want of room. Call regularly. */
  tick(): void {
    for (const owner of this.#owners.values()) {
      if (!this.#inboxes.has(owner.log) && hasRoom(owner, "inbox")) this.#openInbox(owner);
    }
    const source = this.#sharedSource;
    const canRead = [...this.#owners.values()].every((owner) => hasRoom(owner, source));
    if (this.#shared === undefined && this.#owners.size > 0 && canRead) this.#openShared();
  }

  close(): void {
    for (const log of this.#owners.keys()) this.remove(log);
  }

  #openInbox(owner: LogOwner): void {
    if (this.#sharedSource === "events") return;
    const { bus, topology, group } = this.#options;
    const { log, queue } = owner;
    const reader = bus.read({
      stream: topology.streams.inbox,
      filters: [topology.inbox(group, log)],
      from: { sequence: queue.seen("inbox") + 1 },
      onMessage: (message) => {
        this.#onBundle(owner, message);
        if (queue.waiting("inbox") > LIMITS.inputsQueuedMax) this.#closeInbox(log);
      },
      onCaughtUp: () => owner.caughtUp("inbox"),
    });
    this.#inboxes.get(log)?.close();
    this.#inboxes.set(log, reader);
  }

  #closeInbox(log: number): void {
    this.#inboxes.get(log)?.close();
    this.#inboxes.delete(log);
  }

  #openShared(): void {
    this.#closeShared();
    const { bus, topology } = this.#options;
    const isLog = this.#sharedSource === "log";
    this.#sharedNext = Math.min(
      ...[...this.#owners.values()].map((owner) => owner.queue.seen(this.#sharedSource) + 1),
    );
    this.#shared = bus.read({
      stream: isLog ? topology.streams.log : topology.streams.events,
      filters: [isLog ? topology.filters.logs : topology.filters.events],
      from: { sequence: this.#sharedNext },
      headersOnly: this.#isWithoutData,
      ...(isLog ? {} : { headerNames: EVENT_HEADERS }),
      onMessage: (message) => {
        this.#sharedNext = message.sequence + 1;
        if (isLog) this.#onCommit(message);
        else this.#onEvent(message);
        for (const { queue } of this.#owners.values())
          if (queue.waiting(this.#sharedSource) > LIMITS.inputsQueuedMax) return this.#closeShared();
      },
      onCaughtUp: () => {
        this.#isSharedCaughtUp = true;
        for (const owner of this.#owners.values()) owner.caughtUp(this.#sharedSource);
      },
    });
  }

  #closeShared(): void {
    this.#shared?.close();
    this.#shared = undefined;
    this.#sharedNext = Infinity;
    this.#isSharedCaughtUp = false;
  }

  #onBundle(owner: LogOwner, { sequence, timestampMs: atMs, data }: StoredMessage): void {
    if (!owner.queue.see("inbox", sequence)) return;
    const base = { source: "inbox" as const, sequence, atMs, arrivedMs: this.#options.clock.monotonicMs() };
    let entries;
    try {
      ({ entries } = decode(BundleSchema, data));
    } catch (error) {
      const body = { case: "undecodable" as const, raw: data, error: `not a bundle: ${String(error)}` };
      return owner.push({ ...base, index: 0, isLast: true, body });
    }
    entries.forEach((entry, index) => {
      owner.push({ ...base, index, isLast: index === entries.length - 1, body: { case: "entry", entry } });
    });
  }

  #onCommit(message: StoredMessage): void {
    const { topology, group, clock } = this.#options;
    const { subject, sequence, timestampMs: atMs, headers } = message;
    const targets = headers[TO_HEADER]?.split(",") ?? NOBODY;
    if (this.#isWithoutData && this.#isForUs(targets)) {
      this.#isWithoutData = false;
      return this.#openShared(); // the commit comes again, with its data
    }
    const isProgress = headers["Tw-Kind"] === undefined;
    let messages: readonly Addressed[] | undefined;
    for (const owner of this.#owners.values()) {
      if (!owner.queue.see("log", sequence) || subject === topology.log(group, owner.log)) continue;
      if (isProgress) owner.othersMoved();
      if (!targets.includes(`${group}.${owner.log}`)) continue;
      messages ??= decodeCommit(message).messages;
      const mine = messages.flatMap(({ group: to, log, entry }) =>
        to === group && log === owner.log && entry ? [entry] : [],
      );
      const base = { source: "log" as const, sequence, atMs, arrivedMs: clock.monotonicMs() };
      mine.forEach((entry, index) => {
        owner.push({ ...base, index, isLast: index === mine.length - 1, body: { case: "entry", entry } });
      });
    }
  }

  #isForUs(targets: readonly string[]): boolean {
    return targets.some((target) => target.startsWith(`${this.#options.group}.`));
  }

  /** J15: an event that somebody has stored a second time, such as a restored copy, is dropped. */
  #onEvent(message: StoredMessage): void {
    const { sequence, timestampMs: atMs } = message;
    const { topology, group, clock } = this.#options;
    const { tenant, kind, key, type, json, atMs: happenedMs } = readEvent(message);
    const target = topology.logOf(group, tenant, key);
    for (const owner of this.#owners.values()) {
      if (!owner.queue.see("events", sequence)) continue;
      if (owner.log !== target || this.#places.get(owner.log)?.isNew(message) === false) {
        owner.othersMoved();
        continue;
      }
      const meta = { tenant, kind, key, atMs: happenedMs };
      const body = { case: "event" as const, type, json, meta, decoded: new Map() };
      owner.push({
        source: "events",
        sequence,
        index: 0,
        isLast: true,
        atMs,
        arrivedMs: clock.monotonicMs(),
        body,
      });
    }
  }
}

/** What waits of another stream does not stop this one: in a full journal it must be read (J24). */
function hasRoom({ queue }: LogOwner, source: InputSource): boolean {
  return queue.waiting(source) < LIMITS.inputsQueuedMax / 2;
}
