import type { Append, AppendOutcome, Bus } from "../bus/bus.ts";

/** Messages of one atomic batch: the server's limit is 1,000. */
const BATCH_MESSAGES_MAX = 1_000;

interface Part {
  readonly messages: readonly Append[];
  readonly resolve: (outcome: AppendOutcome) => void;
}

/**
 * Stores the batches of several logs together: a batch costs the server about the same for one message and for
 * hundreds, so few large ones are what it can take. One batch is under way at a time; what comes meanwhile goes
 * with the next.
 */
export class BatchCombiner {
  readonly #bus: Bus;
  #waiting: Part[] = [];
  #isRunning = false;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  /**
   * Stores the messages, all or none. A batch that fails says `unknown` to everybody in it: each must look for
   * itself, and try again alone, so that one log's conflict holds up no other.
   */
  append(messages: readonly Append[]): Promise<AppendOutcome> {
    return new Promise((resolve) => {
      this.#waiting.push({ messages, resolve });
      if (!this.#isRunning) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    await Promise.resolve(); // what is ready in the same turn goes along
    while (this.#waiting.length > 0) {
      const parts = this.#take();
      const messages = parts.flatMap((part) => part.messages);
      const [only] = messages;
      const outcome =
        messages.length === 1 && only !== undefined
          ? await this.#bus.append(only)
          : await this.#bus.appendBatch(messages);
      settle(parts, outcome);
    }
    this.#isRunning = false;
  }

  #take(): readonly Part[] {
    let count = 0;
    const fitting = this.#waiting.findIndex((part) => (count += part.messages.length) > BATCH_MESSAGES_MAX);
    const taken = fitting < 0 ? this.#waiting : this.#waiting.slice(0, Math.max(1, fitting));
    this.#waiting = this.#waiting.slice(taken.length);
    return taken;
  }
}

function settle(parts: readonly Part[], outcome: AppendOutcome): void {
  const isAlone = parts.length === 1;
  let after = parts.reduce((sum, { messages }) => sum + messages.length, 0);
  for (const { messages, resolve } of parts) {
    after -= messages.length;
    if (outcome.kind === "stored") resolve({ ...outcome, sequence: outcome.sequence - after });
    else resolve(isAlone ? outcome : { kind: "unknown", reason: "a batch of several logs failed" });
  }
}
