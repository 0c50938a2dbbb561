import { Ending } from "../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import type { Dice } from "./dice.ts";
import type { ScriptInit } from "./diary-actor.ts";
import type { CallOp } from "./plan.ts";

const KEYS = ["x0", "x1"];

/** True for the key of an actor whose record goes a while after its last change. */
export function isShortLived(key: string): boolean {
  return KEYS.includes(key);
}

/** Commands to actors that go when nothing is open: opened, changed, gone, opened again. They move no money. */
export function planShortLived(dice: Dice, tenant: string, untilMs: number): readonly CallOp[] {
  let count = 0;
  const script = (isNested: boolean): ScriptInit & { readonly op: string } => ({
    op: `x${count++}`,
    amount: 0n,
    sends:
      !isNested && dice.chance(0.4)
        ? [{ to: dice.pick(KEYS), amount: 0n, touches: true, script: script(true) }]
        : [],
    arms:
      !isNested && dice.chance(0.5)
        ? [
            {
              name: dice.pick(["t1", "t2"]),
              delayMs: dice.pick([30, 400, 1_500, 2_500]),
              script: script(true),
            },
          ]
        : [],
    cancels: dice.chance(0.2) ? ["t1"] : [],
    tasks: dice.chance(0.2) ? 1 : 0,
    events: 0,
    list: false,
    ending: Ending.UNSPECIFIED,
    ttlSeconds: dice.pick([0, 1, 1, 1]),
  });
  const calls = Array.from({ length: dice.integer(6, 14) }, (): CallOp => ({
    type: "call",
    atMs: dice.integer(100, untilMs),
    method: dice.chance(0.5) ? "open" : "run",
    tenant,
    key: dice.pick(KEYS),
    script: script(false),
    isTwice: false,
    isPatient: dice.chance(0.5),
    timeoutMs: 1_500,
  }));
  return calls;
}
