import type { TimerHandle } from "../../../platform/clock.ts";
import type { Delivery, PullOptions, StoredMessage, Subscription } from "./bus.ts";
import type { MemoryConnection, MemoryServer } from "./memory-connection.ts";
import type { MemoryStream } from "./memory-stream.ts";
import { MemoryWire } from "./memory-wire.ts";
import { createMatcher } from "./subject-match.ts";

/** A client notices a deleted durable and makes it again. */
const RECREATE_MS = 100;

interface Pending {
  attempt: number;
  timer: TimerHandle;
  holder: MemoryPull | undefined;
}

/** A durable consumer with explicit acks: it survives its readers and restarts of the server. */
export class MemoryConsumer {
  readonly #server: MemoryServer;
  readonly #stream: MemoryStream;
  readonly #options: PullOptions;
  readonly #matches: (subject: string) => boolean;
  readonly #pending = new Map<number, Pending>();
  readonly #attempts = new Map<number, number>();
  readonly #members: MemoryPull[] = [];
  readonly #unlisten: () => void;
  #redeliver: number[] = [];
  #next = 1;
  #turn = 0;
  #timer: TimerHandle | undefined;

  constructor(server: MemoryServer, stream: MemoryStream, options: PullOptions) {
    this.#server = server;
    this.#stream = stream;
    this.#options = options;
    this.#matches = createMatcher([options.filter]);
    this.#unlisten = stream.listen(() => this.pump());
  }

  join(pull: MemoryPull): void {
    this.#members.push(pull);
    this.pump();
  }

  leave(pull: MemoryPull): void {
    const index = this.#members.indexOf(pull);
    if (index >= 0) this.#members.splice(index, 1);
  }

  /** Everything up to here is acked. */
  get ackFloor(): number {
    return Math.min(this.#next, ...this.#pending.keys(), ...this.#redeliver) - 1;
  }

  /** Any delivery's ack counts, an old one's too: acks are not fenced. */
  ack(sequence: number): void {
    this.#release(sequence);
    this.#redeliver = this.#redeliver.filter((waiting) => waiting !== sequence);
    this.#attempts.delete(sequence);
    this.pump();
  }

  nak(sequence: number, delayMs: number): void {
    const pending = this.#pending.get(sequence);
    if (pending === undefined) return;
    this.#leaveHolder(pending);
    this.#rearm(sequence, pending, delayMs);
    this.pump();
  }

  working(sequence: number): void {
    const pending = this.#pending.get(sequence);
    if (pending?.holder !== undefined) this.#rearm(sequence, pending, this.#options.ackWaitMs);
  }

  /** Forgets everything, as after somebody deleted it; its members make it again a little later. */
  reset(): void {
    for (const sequence of this.#pending.keys()) this.#release(sequence);
    this.#redeliver = [];
    this.#attempts.clear();
    this.#next = 1;
    this.#pumpLater(RECREATE_MS);
  }

  close(): void {
    this.#unlisten();
    this.#timer?.cancel();
    for (const { timer } of this.#pending.values()) timer.cancel();
  }

  pump(): void {
    if (!this.#server.isRunning() || this.#timer !== undefined) return;
    while (this.#pending.size < this.#options.ackPendingMax) {
      const member = this.#freeMember();
      if (member === undefined) return;
      const message = this.#take();
      if (message === undefined) return;
      const attempt = (this.#attempts.get(message.sequence) ?? 0) + 1;
      this.#attempts.set(message.sequence, attempt);
      const timer = this.#ackTimer(message.sequence, this.#options.ackWaitMs);
      this.#pending.set(message.sequence, { attempt, timer, holder: member });
      member.take(message, attempt);
    }
  }

  #pumpLater(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#server.clock.setTimer(() => {
      this.#timer = undefined;
      this.pump();
    }, delayMs);
  }

  #freeMember(): MemoryPull | undefined {
    for (let i = 0; i < this.#members.length; i++) {
      const member = this.#members[(this.#turn + i) % this.#members.length];
      if (member === undefined || !member.hasRoom) continue;
      this.#turn = (this.#turn + i + 1) % this.#members.length;
      return member;
    }
    return undefined;
  }

  #take(): StoredMessage | undefined {
    for (let sequence = this.#redeliver.shift(); sequence !== undefined; sequence = this.#redeliver.shift()) {
      const message = this.#stream.get(sequence);
      if (message !== undefined) return message;
      this.#attempts.delete(sequence);
    }
    const message = this.#stream.next(this.#next, this.#matches);
    this.#next = (message?.sequence ?? this.#stream.lastSequence) + 1;
    return message;
  }

  #ackTimer(sequence: number, delayMs: number): TimerHandle {
    return this.#server.clock.setTimer(() => {
      this.#release(sequence);
      this.#redeliver.push(sequence);
      this.pump();
    }, delayMs);
  }

  #rearm(sequence: number, pending: Pending, delayMs: number): void {
    pending.timer.cancel();
    pending.timer = this.#ackTimer(sequence, delayMs);
  }

  #release(sequence: number): void {
    const pending = this.#pending.get(sequence);
    if (pending === undefined) return;
    pending.timer.cancel();
    this.#leaveHolder(pending);
    this.#pending.delete(sequence);
  }

  #leaveHolder(pending: Pending): void {
    pending.holder?.release();
    pending.holder = undefined;
  }
}

/** One process' share of a durable consumer. */
export class MemoryPull implements Subscription {
  readonly #connection: MemoryConnection;
  readonly #consumer: MemoryConsumer;
  readonly #options: PullOptions;
  readonly #wire: MemoryWire;
  #held = 0;
  #isClosed = false;

  constructor(connection: MemoryConnection, consumer: MemoryConsumer, options: PullOptions) {
    this.#connection = connection;
    this.#consumer = consumer;
    this.#options = options;
    this.#wire = new MemoryWire(connection.server.clock);
    consumer.join(this);
  }

  get hasRoom(): boolean {
    return this.#held < this.#options.inFlightMax;
  }

  release(): void {
    this.#held--;
  }

  take(message: StoredMessage, attempt: number): void {
    this.#held++;
    const { delayMs = 0, resetMs } =
      this.#connection.server.faults().delivery({
        connection: this.#connection.name,
        kind: "pull",
        target: this.#options.stream,
      }) ?? {};
    if (resetMs !== undefined) return; // lost on the way: comes again after the ack wait
    const arrive = () => {
      if (!this.#isClosed) this.#options.onDelivery(this.#delivery(message, attempt));
    };
    this.#wire.send(delayMs, () => queueMicrotask(() => this.#connection.enter(arrive)));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#wire.close();
    this.#consumer.leave(this);
  }

  #delivery(message: StoredMessage, attempt: number): Delivery {
    const { sequence } = message;
    let isEnded = false;
    const tell = (run: () => void) => this.#connection.tell(this.#options.stream, run);
    const end = (run: () => void) => {
      if (!isEnded) tell(run);
      isEnded = true;
    };
    return {
      message,
      attempt,
      ack: () => end(() => this.#consumer.ack(sequence)),
      nak: (delayMs) => end(() => this.#consumer.nak(sequence, delayMs)),
      working: () => tell(() => this.#consumer.working(sequence)),
    };
  }
}
