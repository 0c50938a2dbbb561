import type { Msg, NatsConnection, Subscription } from "@nats-io/nats-core";
import { createInbox } from "@nats-io/nats-core";
import { type Clock, sleep } from "../../../platform/clock.ts";
import { BusError } from "./bus.ts";
import { type ApiError, ApiCallError } from "./errors-jetstream.ts";
import { LIMITS } from "../limits.ts";

/** How late a timeout may be noticed. */
const SWEEP_MS = 50;

/** Why there was no answer. Nothing is known about what the request did. */
export type Silence = "timeout" | "disconnected" | "no responders" | "closed";

/** Takes the answers to one request, until it returns true or silence ends it. */
export interface Asker {
  onMessage(msg: Msg): boolean;
  onSilence(why: Silence): void;
}

interface Waiting {
  readonly asker: Asker;
  readonly timeoutMs: number;
  deadlineMs: number;
}

/**
 * Requests of one connection over one inbox subscription: no subscription and no timer per request, and all fail at
 * once when the connection is lost (the client's own wait for their timeout).
 */
export class Requests {
  readonly nc: NatsConnection;
  readonly clock: Clock;
  readonly #prefix: string;
  readonly #inbox: Subscription;
  readonly #waiting = new Map<string, Waiting>();
  readonly #onConnected = new Set<() => void>();
  readonly #onDisconnected = new Set<() => void>();
  #count = 0;
  #isSweeping = false;
  #isConnected = true;

  constructor(nc: NatsConnection, clock: Clock) {
    this.nc = nc;
    this.clock = clock;
    // The connection's own prefix: permissions keep the answers of roles apart by it.
    const { inboxPrefix } = (nc as { options?: { inboxPrefix?: string } }).options ?? {};
    this.#prefix = `${createInbox(inboxPrefix)}.`;
    this.#inbox = nc.subscribe(`${this.#prefix}*`, { callback: (_error, msg) => this.#answer(msg) });
    void this.#watchStatus();
  }

  get isConnected(): boolean {
    return this.#isConnected && !this.nc.isClosed();
  }

  /** A subject for answers that only this process hears. */
  inbox(): string {
    return `${this.#prefix.slice(0, -1)}-${(++this.#count).toString(36)}`;
  }

  onReconnect(listener: () => void): () => void {
    this.#onConnected.add(listener);
    return () => this.#onConnected.delete(listener);
  }

  onDisconnect(listener: () => void): () => void {
    this.#onDisconnected.add(listener);
    return () => this.#onDisconnected.delete(listener);
  }

  /**
   * Asks and hears every answer. The timeout counts from the last answer.
   * @throws if the client refuses to send it: too large
   */
  ask(subject: string, data: Uint8Array | string, timeoutMs: number, asker: Asker): void {
    const send = (reply: string) => this.nc.publish(subject, data, { reply });
    this.askBy(send, timeoutMs, asker);
  }

  /** The same, for what is sent in another way. @param send is given the subject for the answers */
  askBy(send: (replyTo: string) => void, timeoutMs: number, asker: Asker): void {
    if (!this.isConnected) return queueMicrotask(() => asker.onSilence("disconnected"));
    const token = (++this.#count).toString(36);
    send(this.#prefix + token);
    this.#waiting.set(token, { asker, timeoutMs, deadlineMs: this.clock.monotonicMs() + timeoutMs });
    void this.#sweep();
  }

  /** Asks and returns the only answer. @throws BusError */
  one(subject: string, data: Uint8Array | string, timeoutMs: number): Promise<Msg> {
    return new Promise((resolve, reject) => {
      this.ask(subject, data, timeoutMs, {
        onMessage: (msg) => {
          resolve(msg);
          return true;
        },
        onSilence: (why) => reject(new BusError(`${subject}: ${why}`)),
      });
    });
  }

  /** Calls the JetStream API. @throws ApiCallError for an error answer, BusError for none */
  async api<T>(call: string, request: object = {}, timeoutMs: number = LIMITS.readTimeoutMs): Promise<T> {
    const msg = await this.one(`$JS.API.${call}`, JSON.stringify(request), timeoutMs);
    const answer = msg.json<T & { error?: ApiError }>();
    if (answer.error !== undefined) throw new ApiCallError(call, answer.error);
    return answer;
  }

  close(): void {
    if (!this.nc.isClosed()) this.#inbox.unsubscribe();
    this.#fail("closed");
  }

  #answer(msg: Msg): void {
    const token = msg.subject.slice(this.#prefix.length);
    const waiting = this.#waiting.get(token);
    if (waiting === undefined) return;
    if (msg.data.length === 0 && msg.headers?.code === 503) {
      this.#waiting.delete(token);
      guard(() => waiting.asker.onSilence("no responders"));
      return;
    }
    waiting.deadlineMs = this.clock.monotonicMs() + waiting.timeoutMs;
    if (guard(() => waiting.asker.onMessage(msg)) !== false) this.#waiting.delete(token);
  }

  /** One loop for all timeouts while anything waits. */
  async #sweep(): Promise<void> {
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    while (this.#waiting.size > 0) {
      await sleep(this.clock, SWEEP_MS);
      const nowMs = this.clock.monotonicMs();
      for (const [token, waiting] of this.#waiting) {
        if (waiting.deadlineMs > nowMs) continue;
        this.#waiting.delete(token);
        guard(() => waiting.asker.onSilence("timeout"));
      }
    }
    this.#isSweeping = false;
  }

  #fail(why: Silence): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { asker } of waiting) guard(() => asker.onSilence(why));
  }

  async #watchStatus(): Promise<void> {
    for await (const { type } of this.nc.status()) {
      if (type === "disconnect") {
        this.#isConnected = false;
        this.#fail("disconnected");
        for (const listener of this.#onDisconnected) guard(listener);
      } else if (type === "reconnect") {
        this.#isConnected = true;
        for (const listener of this.#onConnected) guard(listener);
      }
    }
    this.#isConnected = false;
    this.#fail("closed");
  }
}

/** A throwing callback would end the client's read loop: it is thrown again where it harms nobody else. */
export function guard<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
    return undefined;
  }
}
