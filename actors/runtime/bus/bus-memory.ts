import type { Clock } from "../../../platform/clock.ts";
import type { Random } from "../../../platform/random.ts";
import { type Bus, BusError, type CoreMessage, type PullOptions, type StoredMessage } from "./bus.ts";
import { genesis } from "./genesis.ts";
import { MemoryConnection, type MemoryInterest, type MemoryServer } from "./memory-connection.ts";
import { MemoryConsumer } from "./memory-consumer.ts";
import { type MemoryFaults, noFaults } from "./memory-faults.ts";
import { MemoryStream } from "./memory-stream.ts";
import { type StreamPlan, type StreamPlanOptions, streamPlans } from "./stream-plan.ts";
import { isWildcard, matchesSubject } from "./subject-match.ts";
import type { Topology } from "../topology.ts";

export { type FaultRates, type MemoryFaults, noFaults, randomFaults } from "./memory-faults.ts";

export interface MemoryNatsOptions {
  readonly clock: Clock;
  /** Decides what NATS leaves open: which member of a queue group hears a message. */
  readonly random: Random;
  /** By default nothing goes wrong and nothing takes time. */
  readonly faults?: MemoryFaults;
}

/**
 * NATS in memory: core messages, streams with compare-and-set, schedules, time to live, dedupe, atomic batches, durable
 * consumers. Deterministic: time comes from the clock, chance from the random, and it holds no timer of its own.
 */
export class MemoryNats {
  /** May be exchanged at any time, so that a simulation can end its faults. */
  faults: MemoryFaults;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #streams = new Map<string, MemoryStream>();
  /** Streams that take subjects with this first token. */
  readonly #byToken = new Map<string, MemoryStream[]>();
  readonly #consumers = new Map<string, MemoryConsumer>();
  readonly #connections = new Set<MemoryConnection>();
  /** By subject; those with wildcards apart, because each of them must be asked. */
  readonly #interests = new Map<string, Set<MemoryInterest>>();
  readonly #wildInterests = new Set<MemoryInterest>();
  readonly #server: MemoryServer;
  #isRunning = true;
  #epoch = 1;
  #inboxes = 0;
  /** Schedules that came due while the server was down. */
  #overdue: (() => void)[] = [];

  constructor(options: MemoryNatsOptions) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.faults = options.faults ?? noFaults;
    this.#server = this.#asServer();
  }

  /** Makes streams that are missing. */
  createStreams(plans: readonly StreamPlan[]): void {
    for (const plan of plans) {
      if (this.#streams.has(plan.name)) continue;
      const stream = new MemoryStream(plan, this.#clock, (...fired) => this.#fire(...fired));
      this.#streams.set(plan.name, stream);
      for (const token of new Set(plan.subjects.map(firstToken))) {
        const others = this.#byToken.get(token);
        if (others === undefined) this.#byToken.set(token, [stream]);
        else others.push(stream);
      }
    }
  }

  /** All streams of the topology and the first message of each log, as `ensureTopology` does on JetStream. */
  ensure(topology: Topology, options: StreamPlanOptions = {}): void {
    this.createStreams(streamPlans(topology, options));
    const createdMs = (name: string) => this.#stream(name).createdAtMs;
    for (const message of genesis(topology, createdMs, this.#clock.nowMs()))
      this.#stream(topology.streams.log).append(message);
  }

  /** The bus of one process. */
  connect(name: string): Bus {
    const connection = new MemoryConnection(this.#server, name);
    this.#connections.add(connection);
    return connection;
  }

  /** The process is gone: its promises never settle, its callbacks never run again. */
  crash(bus: Bus): void {
    const connection = this.#connection(bus);
    connection.crash();
    this.#connections.delete(connection);
  }

  /** The process is paused: what comes for it and what it does wait until `resume`. */
  freeze(bus: Bus): void {
    this.#connection(bus).freeze();
  }

  resume(bus: Bus): void {
    this.#connection(bus).resume();
  }

  /** kill -9 of the server. What is stored stays; what was on its way is lost. */
  stop(): void {
    this.#isRunning = false;
    this.#epoch++;
  }

  start(): void {
    this.#isRunning = true;
    const overdue = this.#overdue;
    this.#overdue = [];
    for (const fire of overdue) fire();
    for (const stream of this.#streams.values()) stream.wake();
  }

  /** Everything in a stream, in order: what a test compares. */
  inspect(stream: string): readonly StoredMessage[] {
    return this.#stream(stream).range(">", 0, Infinity);
  }

  /** Changes the byte limit of a stream. */
  setBytesMax(stream: string, bytesMax: number): void {
    this.#stream(stream).setBytesMax(bytesMax);
  }

  /** Somebody restores an older state of a stream. */
  rollBack(stream: string, lastSequence: number): void {
    this.#stream(stream).rollBack(lastSequence);
  }

  /** Somebody deletes a stream and makes it again; its sequences have come as far as the old one's. */
  recreate(stream: string): void {
    this.#stream(stream).recreate();
  }

  /** Somebody deletes the durable consumers of a stream: what is still stored is delivered again. */
  deleteConsumers(stream: string): void {
    for (const [key, consumer] of this.#consumers) if (key.startsWith(`${stream}/`)) consumer.reset();
  }

  /** Ends all that waits on the clock. */
  close(): void {
    for (const connection of this.#connections) connection.crash();
    for (const consumer of this.#consumers.values()) consumer.close();
    for (const stream of this.#streams.values()) stream.close();
  }

  #asServer(): MemoryServer {
    return {
      clock: this.#clock,
      faults: () => this.faults,
      isRunning: () => this.#isRunning,
      epoch: () => this.#epoch,
      stream: (name) => this.#stream(name),
      streamOf: (subject) => this.#streamOf(subject),
      consumer: (options) => this.#consumer(options),
      findConsumer: (stream, name) => this.#consumers.get(`${stream}/${name}`),
      route: (message, isStored = false) => this.#route(message, isStored),
      addInterest: (interest) => void this.#interestsOf(interest.subject).add(interest),
      removeInterest: (interest) => this.#removeInterest(interest),
      inbox: () => `_INBOX.${++this.#inboxes}`,
    };
  }

  #connection(bus: Bus): MemoryConnection {
    if (bus instanceof MemoryConnection) return bus;
    throw new TypeError("this bus does not come from a MemoryNats");
  }

  #stream(name: string): MemoryStream {
    const stream = this.#streams.get(name);
    if (stream === undefined) throw new BusError(`there is no stream ${name}: call ensure first`);
    return stream;
  }

  #streamOf(subject: string): MemoryStream | undefined {
    const streams = this.#byToken.get(firstToken(subject));
    if (streams !== undefined) for (const stream of streams) if (stream.takes(subject)) return stream;
    return undefined;
  }

  #consumer(options: PullOptions): MemoryConsumer {
    const key = `${options.stream}/${options.consumer}`;
    let consumer = this.#consumers.get(key);
    if (consumer === undefined) {
      consumer = new MemoryConsumer(this.#server, this.#stream(options.stream), options);
      this.#consumers.set(key, consumer);
    }
    return consumer;
  }

  #interestsOf(subject: string): Set<MemoryInterest> {
    if (isWildcard(subject)) return this.#wildInterests;
    let interests = this.#interests.get(subject);
    if (interests === undefined) this.#interests.set(subject, (interests = new Set()));
    return interests;
  }

  #removeInterest(interest: MemoryInterest): void {
    const interests = this.#interestsOf(interest.subject);
    interests.delete(interest);
    if (interests !== this.#wildInterests && interests.size === 0) this.#interests.delete(interest.subject);
  }

  /** @returns how many hear it: each subscription, one of each queue group */
  #tell(message: CoreMessage): number {
    const { subject } = message;
    let heard = 0;
    let queues: Map<string, MemoryInterest[]> | undefined;
    const tell = (interest: MemoryInterest) => {
      heard++;
      if (interest.queue === undefined) return interest.deliver(message);
      queues ??= new Map();
      const group = `${interest.queue} ${interest.subject}`;
      const members = queues.get(group);
      if (members === undefined) queues.set(group, [interest]);
      else members.push(interest);
    };
    this.#interests.get(subject)?.forEach(tell);
    for (const interest of this.#wildInterests) if (matchesSubject(interest.subject, subject)) tell(interest);
    for (const members of queues?.values() ?? [])
      members[Math.floor(this.#random.float() * members.length)]?.deliver(message);
    return heard;
  }

  #route(message: CoreMessage, isStored: boolean): number {
    const isSilent = this.#wildInterests.size === 0 && !this.#interests.has(message.subject);
    let heard = isSilent ? 0 : this.#tell(message);
    if (isStored) return heard;
    const { subject, data, headers } = message;
    const stream = this.#streamOf(subject);
    if (stream?.append({ subject, data, headers }).kind === "stored") heard++;
    return heard;
  }

  #fire(stream: MemoryStream, message: StoredMessage, target: string): void {
    if (!this.#isRunning) {
      this.#overdue.push(() => this.#fire(stream, message, target));
      return;
    }
    const { subject, data, headers, sequence } = message;
    const fire = () =>
      stream.append({ subject: target, data, headers: { ...headers, "Nats-Scheduler": subject } });
    stream.drop(sequence);
    fire();
    const againMs = this.faults.firesAgainAfterMs(subject);
    if (againMs !== undefined) this.#clock.setTimer(fire, againMs);
  }
}

function firstToken(subject: string): string {
  const end = subject.indexOf(".");
  return end < 0 ? subject : subject.slice(0, end);
}
