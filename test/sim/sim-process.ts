import type { Clock, TimerHandle } from "../../platform/clock.ts";
import type { Random } from "../../platform/random.ts";
import type { Bus } from "../../actors/runtime/bus/bus.ts";
import type { MemoryNats } from "../../actors/runtime/bus/bus-memory.ts";
import { Dice } from "./dice.ts";
import { SimBus, type SimBusOptions } from "./sim-bus.ts";
import { START_MS, type VirtualTime } from "./virtual-time.ts";

/** What a process is made of. */
export interface SimProcessOptions {
  readonly time: VirtualTime;
  readonly nats: MemoryNats;
  readonly seed: number;
  /** Unique over all lives. */
  readonly name: string;
  /** What its wall clock is wrong by. */
  readonly skewMs: number;
  readonly staleness: SimBusOptions["staleness"];
}

/**
 * One process of the simulated system: its own clock, chance and connection. After `crash` nothing of it runs or
 * reaches the server any more; while frozen its timers and all that comes for it are held.
 */
export class SimProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly bus: SimBus;
  readonly #nats: MemoryNats;
  readonly #connection: Bus;
  #state: "running" | "frozen" | "dead" = "running";
  #held: (() => void)[] = [];

  constructor({ time, nats, seed, name, skewMs, staleness }: SimProcessOptions) {
    this.name = name;
    this.#nats = nats;
    this.random = new Dice(seed, name).random;
    const startedMs = time.nowMs;
    this.clock = {
      nowMs: () => START_MS + time.nowMs + skewMs,
      monotonicMs: () => 1_000 + time.nowMs - startedMs,
      setTimer: (run, delayMs) => this.#setTimer(time, run, delayMs),
    };
    this.#connection = nats.connect(name);
    this.bus = new SimBus(this.#connection, { clock: time.clock(), staleness });
  }

  get isAlive(): boolean {
    return this.#state !== "dead";
  }

  get isFrozen(): boolean {
    return this.#state === "frozen";
  }

  crash(): void {
    if (this.#state === "dead") return;
    this.#state = "dead";
    this.#held = [];
    this.#nats.crash(this.#connection);
  }

  freeze(): void {
    if (this.#state !== "running") return;
    this.#state = "frozen";
    this.#nats.freeze(this.#connection);
  }

  /** @param timersFirst whether due timers run before what has come meanwhile */
  resume(timersFirst: boolean): void {
    if (this.#state !== "frozen") return;
    this.#state = "running";
    if (!timersFirst) this.#nats.resume(this.#connection);
    const held = this.#held;
    this.#held = [];
    for (const run of held) run();
    if (timersFirst) this.#nats.resume(this.#connection);
  }

  #setTimer(time: VirtualTime, run: () => void, delayMs: number): TimerHandle {
    if (this.#state === "dead") return { cancel: () => undefined };
    let isCancelled = false;
    const fire = () => {
      if (isCancelled || this.#state === "dead") return;
      if (this.#state === "frozen") this.#held.push(fire);
      else run();
    };
    const timer = time.setTimer(fire, delayMs);
    return {
      cancel: () => {
        isCancelled = true;
        timer.cancel();
      },
    };
  }
}
