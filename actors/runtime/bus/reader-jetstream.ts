import type { Msg, Subscription as NatsSubscription } from "@nats-io/nats-core";
import type { TimerHandle } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import type { Random } from "../../../platform/random.ts";
import type { ReadOptions, Subscription } from "./bus.ts";
import { LIMITS } from "../limits.ts";
import { deliveredMessage, deliveryInfo, type HeaderParser, headerParser } from "./message-jetstream.ts";
import { status as streamStatus } from "./queries-jetstream.ts";
import { guard, type Requests } from "./requests-jetstream.ts";
import type { StreamEnd, StreamEnds } from "./stream-ends-jetstream.ts";

/** The server says so often that it is there and what it has sent. */
const HEARTBEAT_MS = 1_000;
/** Silence after which the consumer is taken for lost. */
const SILENCE_MS_MAX = 2_500;
/** A consumer that has not come by what the leader had so long ago lives on a server that is behind. */
const BEHIND_MS_MAX = 2_500;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 1_000;
/** A consumer that nobody listens to goes after this. */
const ABANDONED_MS = 10_000;
const NANOS_PER_MS = 1_000_000;
/** Of chance in a consumer's name, which comes back with each message. */
const NAME_CHARACTERS = 10;

interface ConsumerCreated {
  readonly num_pending: number;
}

interface ReaderParts {
  readonly requests: Requests;
  readonly ends: StreamEnds;
  readonly random: Random;
  readonly log: Logger;
}

/**
 * Reads a stream in order with an ephemeral push consumer: no acks, state in memory, flow control by the server. Every
 * consumer has an inbox of its own, so that no message of an old one can be taken for one of the new. A gap in the
 * consumer's sequence, silence, a server that is behind, or a new connection: another consumer, from the next sequence.
 */
export class JetStreamReader implements Subscription {
  readonly #parts: ReaderParts;
  readonly #options: ReadOptions;
  readonly #parseHeaders: HeaderParser | undefined;
  readonly #unlisten: () => void;
  /** First sequence that has not been delivered; undefined until it is known where the stream ends. */
  #next: number | undefined;
  /** The start is still the newest message of each subject. */
  #isSnapshot: boolean;
  #snapshotEnd = 0;
  #consumer = "";
  #inbox: NatsSubscription | undefined;
  /** Messages of the present consumer. */
  #received = 0;
  #isCaughtUp = false;
  #startedMs = 0;
  #heardMs = 0;
  /** What the present consumer is to come by. */
  #end: StreamEnd | undefined;
  #timer: TimerHandle | undefined;
  #retryMs = RETRY_MS_MIN;
  #isClosed = false;

  constructor(parts: ReaderParts, options: ReadOptions) {
    this.#parts = parts;
    this.#options = options;
    const { from, headerNames } = options;
    this.#parseHeaders = headerNames && headerParser(headerNames);
    this.#isSnapshot = from === "last-per-subject";
    if (typeof from === "object") this.#next = Math.max(1, from.sequence);
    this.#unlisten = parts.requests.onReconnect(() => this.#restart("reconnected"));
    void this.#start();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#unlisten();
    this.#drop();
  }

  /** Makes a consumer and arms the watch over it; on failure tries again later. */
  async #start(): Promise<void> {
    const { requests, random, log } = this.#parts;
    const { stream } = this.#options;
    const name = `reader-${random.id().slice(-NAME_CHARACTERS)}`;
    this.#consumer = name;
    this.#received = 0;
    this.#isCaughtUp = false;
    try {
      await this.#findStart();
      if (!this.#isCurrent(name)) return;
      const inbox = requests.inbox();
      this.#inbox = requests.nc.subscribe(inbox, { callback: (_error, msg) => this.#onMessage(name, msg) });
      const created = await requests.api<ConsumerCreated>(
        this.#createCall(name),
        this.#createRequest(name, inbox),
      );
      if (!this.#isCurrent(name)) return this.#delete(name); // closed while it was made
      this.#retryMs = RETRY_MS_MIN;
      this.#startedMs = requests.clock.monotonicMs();
      this.#heardMs = this.#startedMs;
      this.#end = undefined;
      this.#watch();
      if (created.num_pending === 0) guard(() => this.#caughtUp());
    } catch (error) {
      if (!this.#isCurrent(name)) return;
      this.#drop();
      if (!requests.isConnected) return; // begun again with the connection, which tells of itself
      if (this.#retryMs === RETRY_MS_MAX)
        log.warn({ stream, err: error }, "cannot read the stream, trying again");
      this.#arm(this.#retryMs, () => void this.#start());
      this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
    }
  }

  #isCurrent(name: string): boolean {
    return !this.#isClosed && this.#consumer === name;
  }

  async #findStart(): Promise<void> {
    if (this.#next !== undefined) return;
    const { lastSequence } = await streamStatus(this.#parts.requests, this.#options.stream);
    if (this.#isSnapshot) {
      this.#snapshotEnd = lastSequence;
      this.#next = 1;
    } else {
      this.#next = lastSequence + 1;
    }
  }

  #createCall(name: string): string {
    const { stream, filters } = this.#options;
    const filter = filters.length === 1 ? `.${filters[0]}` : "";
    return `CONSUMER.CREATE.${stream}.${name}${filter}`;
  }

  #createRequest(name: string, inbox: string): object {
    const { stream, filters, headersOnly } = this.#options;
    const [filter] = filters;
    return {
      stream_name: stream,
      action: "create",
      config: {
        name,
        description: "Tradewind: ordered reader of one process",
        metadata: { "tradewind.owner": "tradewind" },
        ...(this.#isSnapshot
          ? { deliver_policy: "last_per_subject" }
          : { deliver_policy: "by_start_sequence", opt_start_seq: this.#next }),
        ...(filters.length === 1 ? { filter_subject: filter } : { filter_subjects: filters }),
        deliver_subject: inbox,
        ack_policy: "none",
        replay_policy: "instant",
        max_deliver: 1,
        ...(headersOnly === true && { headers_only: true }),
        flow_control: true,
        idle_heartbeat: HEARTBEAT_MS * NANOS_PER_MS,
        inactive_threshold: ABANDONED_MS * NANOS_PER_MS,
        mem_storage: true,
        num_replicas: 1,
      },
    };
  }

  #onMessage(name: string, msg: Msg): void {
    if (!this.#isCurrent(name)) return;
    this.#heardMs = this.#parts.requests.clock.monotonicMs();
    const info = deliveryInfo(msg.reply ?? "");
    if (info === undefined) return this.#onControl(msg);
    if (info.consumerSequence !== this.#received + 1) return this.#restart("a message is missing");
    this.#received++;
    if (info.streamSequence >= (this.#next ?? 0)) {
      this.#next = info.streamSequence + 1;
      guard(() => this.#options.onMessage(deliveredMessage(msg, info, this.#parseHeaders)));
    }
    if (info.pending === 0 && this.#isCurrent(name)) guard(() => this.#caughtUp());
  }

  /** Heartbeats tell what has been sent; both kinds may ask for a sign that we have taken it. */
  #onControl(msg: Msg): void {
    const { nc } = this.#parts.requests;
    const stalled = msg.headers?.get("Nats-Consumer-Stalled") ?? "";
    if (msg.reply !== undefined && msg.reply !== "") nc.publish(msg.reply);
    else if (stalled !== "") nc.publish(stalled);
    const sent = msg.headers?.get("Nats-Last-Consumer") ?? "";
    if (sent === "" || stalled !== "") return;
    if (Number(sent) !== this.#received) return this.#restart("a message is missing");
    if (this.#isBehind(Number(msg.headers?.get("Nats-Last-Stream") ?? "0")))
      return this.#restart("its server is behind");
    // What was pending has been purged: nothing is left to be delivered.
    if (!this.#isCaughtUp) guard(() => this.#caughtUp());
  }

  /**
   * A consumer lives on one member of the stream's group. Where that one cannot catch up, because the member that it
   * caught up from has died, it delivers nothing for 10 s or longer and heartbeats like any other.
   * @param through sequence of the stream that the consumer has come to
   */
  #isBehind(through: number): boolean {
    const { requests, ends } = this.#parts;
    if (this.#end === undefined || through >= this.#end.sequence) this.#end = ends.of(this.#options.stream);
    if (this.#end === undefined || through >= this.#end.sequence) return false;
    return requests.clock.monotonicMs() - Math.max(this.#end.atMs, this.#startedMs) > BEHIND_MS_MAX;
  }

  #caughtUp(): void {
    this.#isCaughtUp = true;
    if (this.#isSnapshot) {
      this.#isSnapshot = false;
      this.#next = Math.max(this.#next ?? 1, this.#snapshotEnd + 1);
    }
    this.#options.onCaughtUp?.();
  }

  #watch(): void {
    this.#arm(HEARTBEAT_MS / 2, () => {
      const silentMs = this.#parts.requests.clock.monotonicMs() - this.#heardMs;
      if (silentMs > SILENCE_MS_MAX) this.#restart("no heartbeat");
      else this.#watch();
    });
  }

  #arm(delayMs: number, run: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#parts.requests.clock.setTimer(run, delayMs);
  }

  #restart(why: string): void {
    if (this.#isClosed) return;
    this.#parts.log.debug(
      { stream: this.#options.stream, why, next: this.#next },
      "reading on with a new consumer",
    );
    this.#drop();
    void this.#start();
  }

  #drop(): void {
    this.#timer?.cancel();
    const { nc } = this.#parts.requests;
    if (this.#inbox !== undefined && !nc.isClosed()) this.#inbox.unsubscribe();
    this.#inbox = undefined;
    const name = this.#consumer;
    this.#consumer = "";
    if (name !== "") this.#delete(name);
  }

  /** Without waiting: what is not deleted goes by itself a little later. */
  #delete(name: string): void {
    const { requests } = this.#parts;
    if (!requests.isConnected) return;
    const call = `$JS.API.CONSUMER.DELETE.${this.#options.stream}.${name}`;
    requests.ask(call, "", LIMITS.readTimeoutMs, { onMessage: () => true, onSilence: () => {} });
  }
}
