import type { ReadOptions, StoredMessage, Subscription } from "./bus.ts";
import type { MemoryConnection } from "./memory-connection.ts";
import type { MemoryStream } from "./memory-stream.ts";
import { MemoryWire } from "./memory-wire.ts";
import { createMatcher } from "./subject-match.ts";

/** Messages that are on their way to one reader at once. */
const IN_FLIGHT_MAX = 256;
const NO_DATA = new Uint8Array(0);

interface Batch {
  readonly messages: readonly StoredMessage[];
  /** Where to look on after it. */
  readonly next: number;
  readonly isLast: boolean;
}

/** An ordered reader: what it lost on the way it gets again from the next sequence. */
export class MemoryReader implements Subscription {
  readonly #connection: MemoryConnection;
  readonly #stream: MemoryStream;
  readonly #options: ReadOptions;
  readonly #matches: (subject: string) => boolean;
  readonly #wire: MemoryWire;
  readonly #unlisten: () => void;
  /** Newest message of each subject that is still to be sent; what follows starts at #next. */
  #snapshot: number[] = [];
  #next: number;
  #isSending = false;
  #wasCaughtUp = false;
  #isClosed = false;

  constructor(connection: MemoryConnection, stream: MemoryStream, options: ReadOptions) {
    this.#connection = connection;
    this.#stream = stream;
    this.#options = options;
    this.#matches = createMatcher(options.filters);
    this.#wire = new MemoryWire(connection.server.clock);
    const { from } = options;
    this.#next = typeof from === "object" ? from.sequence : stream.lastSequence + 1;
    if (from === "last-per-subject") this.#snapshot = stream.lastPerSubject(this.#matches);
    this.#unlisten = stream.listen(() => this.pump());
    this.pump();
  }

  close(): void {
    this.#isClosed = true;
    this.#unlisten();
    this.#wire.close();
  }

  /** Sends what there is, unless something is on its way: its arrival sends the rest. */
  pump(): void {
    const { server } = this.#connection;
    if (this.#isClosed || this.#isSending || !server.isRunning()) return;
    if (this.#wasCaughtUp && this.#stream.next(this.#next, this.#matches) === undefined) {
      this.#next = this.#stream.lastSequence + 1; // what does not match is looked at once
      return;
    }
    const batch = this.#collect();
    this.#isSending = true;
    const { delayMs = 0, resetMs } =
      server.faults().delivery({
        connection: this.#connection.name,
        kind: "reader",
        target: this.#stream.name,
      }) ?? {};
    const arrive = () => this.#connection.enter(() => this.#deliver(batch));
    if (resetMs === undefined) this.#wire.send(delayMs, () => queueMicrotask(arrive));
    else this.#wire.send(Math.max(1, resetMs), () => this.#again());
  }

  #again(): void {
    this.#isSending = false;
    this.#wasCaughtUp = false;
    this.pump();
  }

  #collect(): Batch {
    const messages: StoredMessage[] = [];
    for (const sequence of this.#snapshot) {
      if (messages.length === IN_FLIGHT_MAX) return { messages, next: this.#next, isLast: false };
      const message = this.#stream.get(sequence);
      if (message !== undefined) messages.push(message);
    }
    let next = this.#next;
    for (;;) {
      const message = this.#stream.next(next, this.#matches);
      if (message === undefined) return { messages, next: this.#stream.lastSequence + 1, isLast: true };
      if (messages.length === IN_FLIGHT_MAX) return { messages, next, isLast: false };
      messages.push(message);
      next = message.sequence + 1;
    }
  }

  #deliver({ messages, next, isLast }: Batch): void {
    this.#isSending = false;
    const last = messages.at(-1)?.sequence ?? 0;
    this.#snapshot = isLast ? [] : this.#snapshot.filter((sequence) => sequence > last);
    this.#next = Math.max(this.#next, next);
    this.#wasCaughtUp = isLast;
    for (const message of messages) {
      if (this.#isClosed) return;
      this.#options.onMessage(this.#options.headersOnly === true ? { ...message, data: NO_DATA } : message);
    }
    if (isLast && !this.#isClosed) this.#options.onCaughtUp?.();
    this.pump();
  }
}
