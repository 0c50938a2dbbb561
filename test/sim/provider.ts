import { type Clock, sleep } from "../../platform/clock.ts";
import { serveTasks, type TaskService } from "../../actors/runtime/task-queue.ts";
import type { Dice } from "./dice.ts";
import type { simQueue } from "./diary-actor.ts";
import type { ProviderRates } from "./plan.ts";

/** What the outside world knows of one task. */
interface Charge {
  readonly op: string;
  calls: number;
}

/** The outside world: it fails, is late and never answers, and keeps a ledger by idempotency key. */
export class Provider {
  readonly charges = new Map<string, Charge>();
  readonly #dice: Dice;
  readonly #rates: ProviderRates;
  readonly #isCalm: () => boolean;
  readonly #hopeless = new Map<string, boolean>();
  readonly #onOddity: (text: string) => void;

  constructor(dice: Dice, rates: ProviderRates, isCalm: () => boolean, onOddity: (text: string) => void) {
    this.#dice = dice;
    this.#rates = rates;
    this.#isCalm = isCalm;
    this.#onOddity = onOddity;
  }

  /** As one process calls it, by that process' clock. */
  service(clock: Clock, queue: typeof simQueue): TaskService {
    return serveTasks(queue, async ({ op }, { taskId, signal }) => {
      const charge = this.charges.get(taskId) ?? { op, calls: 0 };
      if (charge.op !== op) this.#onOddity(`task ${taskId} asks for ${op}, before it asked for ${charge.op}`);
      charge.calls++;
      this.charges.set(taskId, charge);
      await this.#misbehave(op, clock, signal);
      return { op };
    });
  }

  async #misbehave(op: string, clock: Clock, signal: AbortSignal): Promise<void> {
    if (this.#isCalm()) return;
    const { failRate, silentRate, slowRate, slowMsMax, hopelessRate } = this.#rates;
    let isHopeless = this.#hopeless.get(op);
    if (isHopeless === undefined) this.#hopeless.set(op, (isHopeless = this.#dice.chance(hopelessRate)));
    if (isHopeless || this.#dice.chance(failRate)) throw new Error("the provider fails");
    if (this.#dice.chance(silentRate)) await new Promise<never>(() => undefined);
    if (this.#dice.chance(slowRate)) await sleep(clock, this.#dice.integer(1, slowMsMax), signal);
  }
}
