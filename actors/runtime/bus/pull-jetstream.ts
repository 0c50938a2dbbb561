import type { Msg, Subscription as NatsSubscription } from "@nats-io/nats-core";
import type { TimerHandle } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import type { Delivery, PullOptions, StoredMessage, Subscription } from "./bus.ts";
import { deliveredMessage, deliveryInfo } from "./message-jetstream.ts";
import { guard, type Requests } from "./requests-jetstream.ts";

const HEARTBEAT_MS = 1_000;
const SILENCE_MS_MAX = 2_500;
/** A request for messages waits so long at the server. */
const EXPIRES_MS = 30_000;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 1_000;
const NANOS_PER_MS = 1_000_000;

/** The statuses that end a request for messages without harm to the consumer. */
const NO_MESSAGES = 404;
const EXPIRED = 408;
const HEARTBEAT = 100;

interface PullParts {
  readonly requests: Requests;
  readonly log: Logger;
}

/**
 * One process' share of a durable consumer. Requests as many messages as it has room for; makes the consumer (again)
 * when it is absent; starts over after a new connection, silence, or a status that ends its requests.
 */
export class JetStreamPull implements Subscription {
  readonly #parts: PullParts;
  readonly #options: PullOptions;
  readonly #unlisten: () => void;
  /** Deliveries that are not ended, by their reply subject, with the time of the last sign of life. */
  readonly #held = new Map<string, number>();
  #inbox: NatsSubscription | undefined;
  /** Where the answers to the present requests go; those to older ones are still taken. */
  #replyTo = "";
  #round = 0;
  #requested = 0;
  #heardMs = 0;
  #timer: TimerHandle | undefined;
  #retryMs = RETRY_MS_MIN;
  #isClosed = false;

  constructor(parts: PullParts, options: PullOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#unlisten = parts.requests.onReconnect(() => void this.#start("reconnected"));
    void this.#start("started");
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#unlisten();
    if (this.#inbox !== undefined && !this.#parts.requests.nc.isClosed()) this.#inbox.unsubscribe();
  }

  async #start(why: string): Promise<void> {
    if (this.#isClosed) return;
    const { requests, log } = this.#parts;
    const { stream, consumer } = this.#options;
    const round = ++this.#round;
    this.#timer?.cancel();
    log.debug({ stream, consumer, why }, "taking messages");
    try {
      await requests.api(
        `CONSUMER.CREATE.${stream}.${consumer}.${this.#options.filter}`,
        this.#createRequest(),
      );
      if (!this.#isCurrent(round)) return;
      this.#listen(round);
      this.#retryMs = RETRY_MS_MIN;
      this.#heardMs = requests.clock.monotonicMs();
      this.#requested = 0;
      this.#requestMore();
      this.#watch();
    } catch (error) {
      if (!this.#isCurrent(round) || !requests.isConnected) return; // begun again with the connection
      if (this.#retryMs === RETRY_MS_MAX) {
        log.warn({ stream, consumer, err: error }, "cannot take messages, trying again");
      }
      this.#later();
    }
  }

  /** Starts over, more patiently each time. */
  #later(): void {
    this.#round++;
    this.#timer?.cancel();
    this.#timer = this.#parts.requests.clock.setTimer(() => void this.#start("again"), this.#retryMs);
    this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
  }

  #isCurrent(round: number): boolean {
    return !this.#isClosed && this.#round === round;
  }

  #createRequest(): object {
    const { stream, consumer, description, filter, ackWaitMs, ackPendingMax } = this.#options;
    return {
      stream_name: stream,
      config: {
        name: consumer,
        durable_name: consumer,
        description,
        metadata: { "tradewind.owner": "tradewind" },
        deliver_policy: "all",
        ack_policy: "explicit",
        ack_wait: ackWaitMs * NANOS_PER_MS,
        max_deliver: -1,
        max_ack_pending: ackPendingMax,
        filter_subject: filter,
        replay_policy: "instant",
      },
    };
  }

  /** One subscription for life; the last token tells the round. */
  #listen(round: number): void {
    const { requests } = this.#parts;
    if (this.#inbox === undefined) {
      const base = requests.inbox();
      this.#inbox = requests.nc.subscribe(`${base}.*`, { callback: (_error, msg) => this.#onMessage(msg) });
    }
    this.#replyTo = `${this.#inbox.getSubject().slice(0, -1)}${round}`;
  }

  #requestMore(): void {
    const { requests } = this.#parts;
    const { stream, consumer, inFlightMax } = this.#options;
    const room = inFlightMax - this.#held.size - this.#requested;
    // Few requests for many messages, unless there is none.
    if (room <= 0 || (this.#requested > 0 && room < inFlightMax / 4) || !requests.isConnected) return;
    this.#requested += room;
    const request = {
      batch: room,
      expires: EXPIRES_MS * NANOS_PER_MS,
      idle_heartbeat: HEARTBEAT_MS * NANOS_PER_MS,
    };
    const options = { reply: this.#replyTo };
    requests.nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, JSON.stringify(request), options);
  }

  #onMessage(msg: Msg): void {
    if (this.#isClosed) return;
    const { requests } = this.#parts;
    this.#heardMs = requests.clock.monotonicMs();
    const info = deliveryInfo(msg.reply ?? "");
    if (info === undefined) return this.#onStatus(msg);
    if (this.#requested > 0) this.#requested--;
    const reply = msg.reply ?? "";
    if (this.#held.size >= this.#options.inFlightMax) {
      // An older request was still open: another process may have room.
      requests.nc.publish(reply, "-NAK");
      return;
    }
    this.#held.set(reply, this.#heardMs);
    const message = deliveredMessage(msg, info);
    guard(() => this.#options.onDelivery(this.#delivery(message, info.attempt, reply)));
    this.#requestMore();
  }

  #onStatus(msg: Msg): void {
    const code = msg.headers?.code ?? 0;
    if (msg.subject !== this.#replyTo || code === HEARTBEAT) return;
    if (code === EXPIRED || code === NO_MESSAGES) {
      const unsent = Number(msg.headers?.get("Nats-Pending-Messages") ?? "0");
      this.#requested = Math.max(0, this.#requested - unsent);
      this.#requestMore();
      return;
    }
    // The consumer was deleted or moves, or nobody answers for it (503).
    this.#later();
  }

  #delivery(message: StoredMessage, attempt: number, reply: string): Delivery {
    let isEnded = false;
    const end = (what: string) => {
      if (isEnded) return;
      isEnded = true;
      this.#held.delete(reply);
      this.#tell(reply, what);
      if (!this.#isClosed) this.#requestMore();
    };
    return {
      message,
      attempt,
      ack: () => end("+ACK"),
      nak: (delayMs) => end(delayMs > 0 ? `-NAK {"delay":${Math.round(delayMs * NANOS_PER_MS)}}` : "-NAK"),
      working: () => {
        if (isEnded) return;
        if (this.#held.has(reply)) this.#held.set(reply, this.#parts.requests.clock.monotonicMs());
        this.#tell(reply, "+WPI");
      },
    };
  }

  /** Lost while there is no connection: the message comes again. */
  #tell(reply: string, what: string): void {
    const { requests } = this.#parts;
    if (requests.isConnected) requests.nc.publish(reply, what);
  }

  #watch(): void {
    const { clock } = this.#parts.requests;
    this.#timer = clock.setTimer(() => {
      const nowMs = clock.monotonicMs();
      // Whoever lets the ack wait run out has given the delivery up: its place is free.
      for (const [reply, heardMs] of this.#held) {
        if (nowMs - heardMs > this.#options.ackWaitMs) this.#held.delete(reply);
      }
      if (this.#requested > 0 && nowMs - this.#heardMs > SILENCE_MS_MAX)
        return void this.#start("no heartbeat");
      if (this.#requested === 0) this.#heardMs = nowMs;
      this.#requestMore();
      this.#watch();
    }, HEARTBEAT_MS / 2);
  }
}
