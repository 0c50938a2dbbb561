import { expect } from "vitest";
import type { AppendOutcome, Bus, StoredMessage } from "./bus.ts";
import type { Topology } from "../topology.ts";

/** Where the contract runs: a NATS with the streams of a topology, and a time that passes. */
export interface BusWorld {
  readonly topology: Topology;
  connect(name: string): Promise<Bus>;
  nowMs(): number;
  pass(ms: number): Promise<void>;
  /** kill -9 of all servers. */
  stopServers(): Promise<void>;
  /** Resolves when they serve again. */
  startServers(): Promise<void>;
  /** Deletes all consumers of a stream as an operator would. */
  deleteConsumers(stream: string): Promise<void>;
  limitBytes(stream: string, bytesMax: number): Promise<void>;
  /** Resolves when every replica of the stream has what its leader has: any of them may answer a read. */
  replicated(stream: string): Promise<void>;
  close(): Promise<void>;
}

/** How long a test waits for what must happen. */
const WITHIN_MS = 15_000;
const POLL_MS = 20;

/** What the tests of the contract share; `world` and `bus` are there once the suite has started. */
export class ContractContext {
  #world: BusWorld | undefined;
  #bus: Bus | undefined;
  #used = 1_000;

  async start(world: BusWorld): Promise<void> {
    this.#world = world;
    this.#bus = await world.connect("contract");
  }

  get world(): BusWorld {
    if (this.#world === undefined) throw new Error("the contract has not started");
    return this.#world;
  }

  get bus(): Bus {
    if (this.#bus === undefined) throw new Error("the contract has not started");
    return this.#bus;
  }

  get t(): Topology {
    return this.world.topology;
  }

  /** A log number of its own for each test: the streams are shared. */
  readonly fresh = () => this.#used++;

  async until(isTrue: () => boolean, what: string): Promise<void> {
    for (let waitedMs = 0; !isTrue(); waitedMs += POLL_MS) {
      if (waitedMs > WITHIN_MS) throw new Error(`not within ${WITHIN_MS} ms: ${what}`);
      await this.world.pass(POLL_MS);
    }
  }

  /** What `lastMany` answers once all replicas are equal. */
  async lastMany(stream: string, subjects: readonly string[]): Promise<ReadonlyMap<string, StoredMessage>> {
    await this.world.replicated(stream);
    return this.bus.lastMany(stream, subjects);
  }

  /** What `range` answers once all replicas are equal. */
  async range(
    stream: string,
    filter: string,
    from: number,
    count: number,
  ): Promise<readonly StoredMessage[]> {
    await this.world.replicated(stream);
    return this.bus.range(stream, filter, from, count);
  }

  async append(subject: string, data = "x"): Promise<number> {
    return storedSequence(await this.bus.append({ subject, data: bytes(data) }));
  }

  /** An append that is repeated until it is stored, as a writer would over a restart. */
  async insist(subject: string, data: string): Promise<void> {
    for (;;) {
      const outcome = await this.bus.append({ subject, data: bytes(data) });
      if (outcome.kind === "stored") return;
      await this.world.pass(50);
    }
  }
}

export function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}

export function text({ data }: { readonly data: Uint8Array }): string {
  return Buffer.from(data).toString();
}

export function storedSequence(outcome: AppendOutcome): number {
  expect(outcome).toMatchObject({ kind: "stored", duplicate: false });
  return outcome.kind === "stored" ? outcome.sequence : 0;
}
