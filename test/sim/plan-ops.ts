import { Ending } from "../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import type { Dice } from "./dice.ts";
import type { ScriptInit } from "./diary-actor.ts";
import type { CallOp, Op, PoisonOp } from "./plan.ts";

/** Effects of one script and all that follow from it. */
const EFFECTS_MAX = 10;
const DEPTH_MAX = 3;

interface PlannedScript {
  op: string;
  amount: bigint;
  sends: { to: string; amount: bigint; script: ScriptInit }[];
  arms: { name: string; delayMs: number; script: ScriptInit }[];
  cancels: string[];
  tasks: number;
  events: number;
  list: boolean;
  ending: Ending;
}

/** Draws what callers ask for, in order of time. */
export class OpsPlan {
  readonly #dice: Dice;
  readonly #tenants: readonly string[];
  readonly #keys: readonly string[];
  readonly #untilMs: number;
  #count = 0;
  #effects = 0;
  readonly #poisonRate: number;
  readonly #killRate: number;

  constructor(
    dice: Dice,
    tenants: readonly string[],
    keys: readonly string[],
    untilMs: number,
    hasKillers: boolean,
  ) {
    this.#dice = dice;
    this.#tenants = tenants;
    this.#keys = keys;
    this.#untilMs = untilMs;
    this.#poisonRate = dice.pick([0, 0, 0.05]);
    this.#killRate = hasKillers ? 0.12 : dice.pick([0, 0, 0, 0.02]);
  }

  draw(): readonly Op[] {
    const dice = this.#dice;
    const ops: Op[] = [];
    for (const tenant of this.#tenants) {
      for (const key of this.#keys) {
        if (dice.chance(0.85)) ops.push(this.#call("open", tenant, key, dice.integer(100, 400)));
      }
    }
    const calls = dice.integer(4, 14);
    let atMs = 0;
    for (let i = 0; i < calls; i++) {
      if (!dice.chance(0.4)) atMs = dice.integer(250, this.#untilMs); // else a burst
      const tenant = dice.pick(this.#tenants);
      const key = dice.pick(this.#keys);
      if (dice.chance(this.#poisonRate)) ops.push(this.#poison(tenant, key, atMs));
      else ops.push(this.#call(dice.chance(0.15) ? "await" : "run", tenant, key, atMs));
    }
    for (let i = dice.integer(2, 8); i > 0; i--) {
      const atMs = dice.integer(300, this.#untilMs);
      ops.push({ type: "read", atMs, tenant: dice.pick(this.#tenants), key: dice.pick(this.#keys) });
    }
    return ops.toSorted((a, b) => a.atMs - b.atMs);
  }

  #call(method: CallOp["method"], tenant: string, key: string, atMs: number): CallOp {
    const dice = this.#dice;
    this.#effects = 0;
    const script = { ...this.#script(0, true), op: this.#op() };
    if (method === "open") script.list = dice.chance(0.7);
    if (method === "await") script.tasks = Math.max(1, script.tasks);
    return {
      type: "call",
      atMs,
      method,
      tenant,
      key,
      script,
      isTwice: dice.chance(0.1),
      isPatient: dice.chance(0.7),
      timeoutMs: dice.pick([400, 1_500, 4_000]),
    };
  }

  #op(): string {
    return `o${this.#count++}`;
  }

  #poison(tenant: string, key: string, atMs: number): PoisonOp {
    const kind = this.#dice.pick(["bytes", "kind", "method", "body"] as const);
    return { type: "poison", atMs, kind, op: this.#op(), tenant, key };
  }

  #script(depth: number, isRequest: boolean): PlannedScript {
    const dice = this.#dice;
    const few = (rate: number) => (this.#effects < EFFECTS_MAX && dice.chance(rate) ? dice.integer(1, 3) : 0);
    const spend = (count: number) => {
      this.#effects += count;
      return count;
    };
    const sends = depth < DEPTH_MAX ? spend(few(0.4)) : 0;
    const arms = depth < DEPTH_MAX ? spend(dice.chance(0.2) ? 1 : 0) : 0;
    return {
      op: "",
      amount: isRequest ? BigInt(dice.integer(0, 50)) : 0n,
      sends: Array.from({ length: sends }, () => ({
        to: dice.pick(this.#keys),
        amount: BigInt(dice.integer(0, 5)),
        script: { ...this.#script(depth + 1, false), op: this.#op() },
      })),
      arms: Array.from({ length: arms }, () => ({
        name: dice.pick(["t1", "t2"]),
        delayMs: dice.pick([0, 30, 400, 1_500]),
        // An alarm that fails has spent its timer: what it would mean to try it again is another question.
        script: { ...this.#script(depth + 1, false), op: this.#op(), ending: Ending.UNSPECIFIED },
      })),
      cancels: dice.chance(0.15) ? [dice.pick(["t1", "t2"])] : [],
      tasks: spend(dice.chance(0.15) ? 1 : 0),
      events: spend(few(0.4)),
      list: false,
      ending: this.#ending(isRequest),
    };
  }

  #ending(isRequest: boolean): Ending {
    const dice = this.#dice;
    if (isRequest && dice.chance(0.06)) return Ending.REFUSE;
    if (dice.chance(this.#poisonRate)) return Ending.THROW;
    return dice.chance(this.#killRate) ? Ending.KILL : Ending.UNSPECIFIED;
  }
}
