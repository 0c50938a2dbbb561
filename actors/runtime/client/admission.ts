import type { Clock, TimerHandle } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import { type Load, LoadSchema } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Bus, CoreMessage, Subscription } from "../bus/bus.ts";
import type { InboxDelay } from "./inbox-delay.ts";
import type { InboxWriter } from "../inbox-writer.ts";
import { LIMITS } from "../limits.ts";
import type { Topology } from "../topology.ts";
import { decode } from "../codec/decode.ts";

/** What admission needs from outside. */
export interface AdmissionOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  readonly topology: Topology;
  readonly writer: InboxWriter;
  readonly delay: InboxDelay;
}

/** Why commands are not accepted, and when to try again. */
export interface AdmissionRefusal {
  readonly reason: string;
  readonly retryAfterMs: number;
}

/** Group whose backlog stops commands: the one that takes them. */
const COMMAND_GROUP = "core";
/** J24: above this part of a stream's bytes no command is accepted. */
const STORE_PART_MAX = 0.8;
const STORE_POLL_MS = 1_000;
/** An owner's word counts this long. */
const LOAD_AGE_MS_MAX = 5_000;
const RETRY_AFTER_MS_MIN = 200;
/** Also after a long silence: what came meanwhile is worked off faster than it came. */
const RETRY_AFTER_MS_MAX = 1_000;
const UNCONNECTED_RETRY_AFTER_MS = 500;
const FULL_RETRY_AFTER_MS = 5_000;
const TOLD_STEP_MS = 10;

/** A wait as who is refused is told of it: in steps, for an answer that others get as well costs little. */
export function toldMs(waitMs: number): number {
  return Math.ceil(waitMs / TOLD_STEP_MS) * TOLD_STEP_MS;
}

interface Word {
  readonly load: Load;
  /** Monotonic. */
  readonly heardMs: number;
}

/** Watches the owners' backlog and the store, and says when to stop taking commands. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #words = new Map<string, Word>();
  readonly #subscriptions: readonly Subscription[];
  #fullStream: string | undefined;
  #poll: TimerHandle | undefined;
  #isClosed = false;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    const { bus, topology } = options;
    this.#subscriptions = topology.groups.flatMap(({ name, logs }) =>
      Array.from({ length: logs }, (_, log) =>
        bus.subscribe(topology.load(name, log), (message) => this.#onLoad(message)),
      ),
    );
    this.#poll = options.clock.setTimer(() => void this.#pollStore(), STORE_POLL_MS);
  }

  /** Newest word of each log's owner; a log whose owner has been silent for too long is not among them. */
  loads(): readonly Load[] {
    return [...this.#words.values()].filter((word) => this.#isFresh(word)).map(({ load }) => load);
  }

  /** Age of the oldest message that the log has not applied, as far as it is known. */
  backlogAgeMs(group: string, log: number): number {
    const word = this.#words.get(`${group}.${log}`);
    const saidMs = word === undefined || !this.#isFresh(word) ? 0 : Number(word.load.oldestAgeMs);
    return Math.max(saidMs, this.#options.delay.of(group, log).ageMs);
  }

  /** Undefined when commands are accepted. */
  refusal(): AdmissionRefusal | undefined {
    const { bus, writer } = this.#options;
    if (!bus.isConnected()) {
      return { reason: "there is no connection to NATS", retryAfterMs: UNCONNECTED_RETRY_AFTER_MS };
    }
    if (this.#fullStream !== undefined || writer.isFull()) {
      const reason = `the store is full (${this.#fullStream ?? this.#options.topology.streams.inbox})`;
      return { reason, retryAfterMs: FULL_RETRY_AFTER_MS };
    }
    for (const word of this.#words.values()) {
      const { group, log } = word.load;
      if (group !== COMMAND_GROUP || !this.#isFresh(word)) continue;
      const behindMs = toldMs(this.#behindMs(word.load));
      if (behindMs === 0) continue;
      // What piles up under load takes as long to be worked off: who asks sooner only adds to it.
      const retryAfterMs = Math.min(Math.max(behindMs, RETRY_AFTER_MS_MIN), RETRY_AFTER_MS_MAX);
      return { reason: `log ${group}.${log} is ${behindMs} ms behind`, retryAfterMs };
    }
    return undefined;
  }

  /**
   * How far a log is behind, 0 within its bound. What this process has stored tells at once when an owner at work does
   * not keep up; while it is silent the log may be changing hands, and what waits will be applied then.
   */
  #behindMs({ group, log, oldestAgeMs }: Load): number {
    const { ageMs, silentMs } = this.#options.delay.of(group, log);
    if (ageMs > LIMITS.inboxAgeMsMax && silentMs <= LIMITS.inboxAgeMsMax) return ageMs;
    return Number(oldestAgeMs) > LIMITS.backlogAgeMsMax ? Number(oldestAgeMs) : 0;
  }

  close(): void {
    this.#isClosed = true;
    this.#poll?.cancel();
    for (const subscription of this.#subscriptions) subscription.close();
  }

  #isFresh(word: Word): boolean {
    return this.#options.clock.monotonicMs() - word.heardMs <= LOAD_AGE_MS_MAX;
  }

  #onLoad(message: CoreMessage): void {
    try {
      const load = decode(LoadSchema, message.data);
      const name = `${load.group}.${load.log}`;
      const known = this.#words.get(name);
      if (known !== undefined && known.load.epoch > load.epoch && this.#isFresh(known)) return; // a paused owner's
      this.#words.set(name, { load, heardMs: this.#options.clock.monotonicMs() });
      this.#options.delay.taken(load.group, load.log, Number(load.inboxSequence));
    } catch (error) {
      this.#options.log.warn({ err: error, subject: message.subject }, "load is not readable");
    }
  }

  async #pollStore(): Promise<void> {
    const { bus, topology, clock, log } = this.#options;
    const { inbox, log: journal, actors, tasks } = topology.streams;
    const results = await Promise.allSettled(
      [inbox, journal, actors, tasks].map(async (stream) => {
        const { bytes, bytesMax } = await bus.status(stream);
        return bytes > bytesMax * STORE_PART_MAX ? stream : undefined;
      }),
    );
    const failed = results.find((result) => result.status === "rejected");
    if (failed === undefined) {
      const full = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      const stream = full.find((name) => name !== undefined);
      if (stream !== this.#fullStream)
        log.warn({ stream: stream ?? this.#fullStream }, stream ? "store is full" : "store has room");
      this.#fullStream = stream;
    }
    if (!this.#isClosed) this.#poll = clock.setTimer(() => void this.#pollStore(), STORE_POLL_MS);
  }
}
