import { sleep, type Clock } from "../../../platform/clock.ts";
import type { Random } from "../../../platform/random.ts";
import { MarkSchema, type Mark } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { BatchCombiner } from "./batch-combiner.ts";
import type { Append, AppendOutcome, Bus } from "../bus/bus.ts";
import { untilAnswered } from "./journal.ts";
import { LIMITS } from "../limits.ts";
import { encode } from "../codec/encode.ts";
import { decode } from "../codec/decode.ts";
import { create } from "../codec/create.ts";

/** What a watermark needs to be written. */
export interface WatermarkOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly stream: string;
  readonly subject: string;
  readonly epoch: bigint;
  readonly signal: AbortSignal;
  /** Stores batches together with those of the worker's other logs. */
  readonly combiner: BatchCombiner;
}

/** Another owner has written the watermark: this one has lost the log. */
export class FencedError extends Error {
  override readonly name = "FencedError";
}

/**
 * The watermark of one derived stream (J13, J14): batches end with it under compare-and-set, so an owner that lost
 * its log cannot overwrite newer records or events. One batch at a time.
 */
export class Watermark {
  readonly #options: WatermarkOptions;
  /** Sequence of the stored mark. */
  #revision = 0;
  #mark: Mark = create(MarkSchema);

  constructor(options: WatermarkOptions) {
    this.#options = options;
  }

  /** Everything up to this log sequence is in the stream. */
  get logSequence(): number {
    return Number(this.#mark.logSequence);
  }

  /** Sequence of the mark in its stream. */
  get revision(): number {
    return this.#revision;
  }

  get replaySequence(): number {
    return Number(this.#mark.replaySequence);
  }

  /**
   * Claims the watermark for this epoch. What it says is final only after this.
   * @throws FencedError
   */
  async claim(): Promise<void> {
    const { bus, clock, signal } = this.#options;
    for (;;) {
      await this.#read();
      const mark = create(MarkSchema, {
        ...this.#mark,
        epoch: this.#options.epoch,
        batchId: this.#options.random.id(),
      });
      const outcome = await bus.append(this.#append(mark));
      if (outcome.kind === "stored") return this.#adopt(mark, outcome.sequence);
      await this.#read();
      if (this.#mark.batchId === mark.batchId) return;
      await sleep(clock, LIMITS.retryDelayMs, signal);
      signal.throwIfAborted();
    }
  }

  /** Stores the messages and moves the watermark with them, whatever it takes. @throws FencedError */
  async write(messages: readonly Append[], logSequence: number, replaySequence: number): Promise<void> {
    const { clock, signal, epoch, combiner } = this.#options;
    const mark = create(MarkSchema, {
      epoch,
      batchId: this.#options.random.id(),
      logSequence: BigInt(logSequence),
      replaySequence: BigInt(replaySequence),
    });
    for (let tries = 0, delayMs: number = LIMITS.retryDelayMs; ; tries++) {
      signal.throwIfAborted();
      const batch = [...messages, this.#append(mark)];
      const outcome = tries === 0 ? await combiner.append(batch) : await this.#alone(batch);
      if (outcome.kind === "stored") return this.#adopt(mark, outcome.sequence);
      if (outcome.kind !== "refused") {
        await this.#read();
        if (this.#mark.batchId === mark.batchId) return;
      }
      if (tries > 0) await sleep(clock, delayMs, signal);
      const { retryDelayMsMax, refusedDelayMsMax } = LIMITS;
      delayMs = Math.min(delayMs * 2, outcome.kind === "refused" ? refusedDelayMsMax : retryDelayMsMax);
    }
  }

  #alone(batch: readonly Append[]): Promise<AppendOutcome> {
    const { bus } = this.#options;
    const [only] = batch;
    return batch.length === 1 && only !== undefined ? bus.append(only) : bus.appendBatch(batch);
  }

  #append(mark: Mark): Append {
    return {
      subject: this.#options.subject,
      data: encode(MarkSchema, mark),
      expectLastSequence: this.#revision,
    };
  }

  #adopt(mark: Mark, sequence: number): void {
    this.#mark = mark;
    this.#revision = sequence;
  }

  async #read(): Promise<void> {
    const { bus, clock, signal, stream, subject, epoch } = this.#options;
    const stored = await untilAnswered(clock, signal, () => bus.last(stream, subject));
    if (stored === undefined) return this.#adopt(create(MarkSchema), 0);
    const mark = decode(MarkSchema, stored.data);
    if (mark.epoch > epoch)
      throw new FencedError(`${subject} belongs to epoch ${mark.epoch}, ours is ${epoch}`);
    this.#adopt(mark, stored.sequence);
  }
}
