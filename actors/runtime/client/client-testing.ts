import { toBinary } from "@bufbuild/protobuf";
import type { Clock } from "../../../platform/clock.ts";
import { silentLogger } from "../../../platform/log.ts";
import { seededRandom } from "../../../platform/random.ts";
import {
  BundleSchema,
  type Entry,
  LoadSchema,
  MarkSchema,
  ReadReplySchema,
  ReadRequestSchema,
  type Record as RecordMessage,
  RecordSchema,
  type Reply,
  RepliesSchema,
  ReplySchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { createActorClient } from "./actor-client.ts";
import type { Bus, CoreMessage, StoredMessage } from "../bus/bus.ts";
import { type MemoryFaults, MemoryNats } from "../bus/bus-memory.ts";
import { createTopology, type Topology } from "../topology.ts";
import { decode } from "../codec/decode.ts";
import { create } from "../codec/create.ts";

interface Timer {
  readonly run: () => void;
  readonly atMs: number;
  isCancelled: boolean;
}

/** Time that passes only when a test says so. */
export class HandClock implements Clock {
  #nowMs = 1_700_000_000_000;
  #timers: Timer[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  setTimer(run: () => void, delayMs: number) {
    const timer: Timer = { run, atMs: this.#nowMs + Math.max(0, delayMs), isCancelled: false };
    this.#timers.push(timer);
    return { cancel: () => void (timer.isCancelled = true) };
  }

  /** Lets so much time pass, timer by timer; what each causes is done before the next. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      await settle();
      this.#timers = this.#timers.filter((timer) => !timer.isCancelled);
      const [next] = this.#timers.toSorted((a, b) => a.atMs - b.atMs);
      if (next === undefined || next.atMs > endMs) break;
      this.#timers.splice(this.#timers.indexOf(next), 1);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
    }
    this.#nowMs = endMs;
  }
}

/** Runs what is ready to run, and what that makes ready. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** What a fake owner answers to an entry; undefined: it says nothing. */
export type Answer = (entry: Entry) => Reply["result"] | undefined;

/** Answers for all logs of `core`, without journal and without actors: what a client sees of an owner. */
export class FakeOwner {
  /** Inputs in the order of their logs, repeats included. */
  readonly entries: Entry[] = [];
  readonly bundleSizes: number[] = [];
  questions = 0;
  sequence = 100n;
  epoch = 1n;
  readonly #bus: Bus;
  readonly #topology: Topology;
  readonly #answer: Answer;
  readonly #records = new Map<string, Uint8Array>();
  readonly #open: { close(): void }[] = [];

  constructor(bus: Bus, topology: Topology, answer: Answer) {
    this.#bus = bus;
    this.#topology = topology;
    this.#answer = answer;
    for (let log = 0; log < topology.group("core").logs; log++) {
      const filters = [topology.inbox("core", log)];
      const onMessage = (message: StoredMessage) => this.#onBundle(log, message);
      this.#open.push(
        bus.read({ stream: topology.streams.inbox, filters, from: { sequence: 1 }, onMessage }),
      );
      this.#open.push(bus.subscribe(topology.read("core", log), (message) => this.#onQuestion(log, message)));
    }
  }

  /** Keeps a record in its memory, as after a commit. */
  keep(kind: string, tenant: string, key: string, record: RecordMessage): void {
    this.sequence++;
    this.#records.set(`${kind}/${tenant}/${key}`, toBinary(RecordSchema, record));
  }

  /** Writes a record and its log's mark into the bucket. */
  async project(
    kind: string,
    tenant: string,
    key: string,
    record: RecordMessage,
    logSequence: bigint,
  ): Promise<void> {
    const log = this.#topology.logOf("core", tenant, key);
    await this.#bus.append({
      subject: this.#topology.record(kind, tenant, key),
      data: toBinary(RecordSchema, record),
    });
    const mark = create(MarkSchema, { epoch: this.epoch, logSequence });
    await this.#bus.append({ subject: this.#topology.mark("core", log), data: toBinary(MarkSchema, mark) });
  }

  sayLoad(log: number, oldestAgeMs: number, inboxSequence = 0): void {
    const load = create(LoadSchema, {
      group: "core",
      log,
      epoch: this.epoch,
      oldestAgeMs: BigInt(oldestAgeMs),
      inboxSequence: BigInt(inboxSequence),
    });
    this.#bus.publish(this.#topology.load("core", log), toBinary(LoadSchema, load));
  }

  close(): void {
    for (const open of this.#open) open.close();
  }

  #onBundle(log: number, message: StoredMessage): void {
    const { entries } = decode(BundleSchema, message.data);
    this.bundleSizes.push(entries.length);
    const replies = new Map<string, Reply[]>();
    this.sequence++;
    for (const entry of entries) {
      this.entries.push(entry);
      const result = this.#answer(entry);
      if (result === undefined || entry.source.case !== "request") continue;
      const { replyTo, correlation } = entry.source.value;
      const waiting = replies.get(replyTo) ?? [];
      replies.set(replyTo, [...waiting, create(ReplySchema, { correlation, result })]);
    }
    for (const [replyTo, list] of replies) {
      const all = create(RepliesSchema, {
        group: "core",
        log,
        epoch: this.epoch,
        logSequence: this.sequence,
        replies: list,
      });
      this.#bus.publish(replyTo, toBinary(RepliesSchema, all));
    }
  }

  #onQuestion(_log: number, message: CoreMessage): void {
    this.questions++;
    const { ids, logSequenceMin } = decode(ReadRequestSchema, message.data);
    if (logSequenceMin > this.sequence) return;
    const none = new Uint8Array(0);
    const records = ids.map(({ kind, tenant, key }) => this.#records.get(`${kind}/${tenant}/${key}`) ?? none);
    const reply = create(ReadReplySchema, { epoch: this.epoch, logSequence: this.sequence, records });
    this.#bus.publish(message.replyTo, toBinary(ReadReplySchema, reply));
  }
}

/** NATS in memory, a clock by hand and a client; the owner answers as the test says. */
export function clientWorld(answer: Answer = () => undefined, faults?: MemoryFaults) {
  const clock = new HandClock();
  const random = seededRandom(7);
  const topology = createTopology({ logs: 4 });
  const nats = new MemoryNats({ clock, random, ...(faults && { faults }) });
  nats.ensure(topology);
  const bus = nats.connect("client");
  const owner = new FakeOwner(nats.connect("owner"), topology, answer);
  const client = createActorClient({ bus, clock, random, topology, log: silentLogger, clientId: "client" });
  return { clock, random, topology, nats, bus, owner, client };
}

/** A bus that does some things in another way. */
export function altered(bus: Bus, ways: Partial<Bus>): Bus {
  return new Proxy(bus, {
    get: (target, property) => {
      const value: unknown = Reflect.get(ways, property) ?? Reflect.get(target, property);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}
