import type { Dice } from "./dice.ts";
import type { Rpc } from "./diary-actor.ts";
import type { Fault } from "./plan-faults.ts";
import type { CallOp, Op, Plan, Skew } from "./plan.ts";

/** Draws what the old build lacks. */
export function drawSkew(dice: Dice): Skew {
  const isCalm = dice.chance(0.6);
  // A firing that was dead-lettered has spent its timer: what it would mean to try it again is another question.
  const lacks: readonly Rpc[] =
    isCalm && dice.chance(0.5) ? ["Later", "Touch", "OnTimer"] : ["Later", "Touch"];
  // Who lacks what is used from the first moment on is not alone at first.
  const upgradeMs = lacks.length > 2 ? 50 : dice.integer(300, 900);
  return { lacks, isCalm, keepsOld: dice.chance(0.6), upgradeMs };
}

/** Some of what it sends opens no actor: it may come to nothing, so it brings nothing. */
function touching(script: CallOp["script"], dice: Dice): CallOp["script"] {
  const sends = script.sends?.map((sending) =>
    dice.chance(0.5) ? { ...sending, amount: 0n, touches: true } : sending,
  );
  return { ...script, sends } as CallOp["script"];
}

/** The same schedule during an upgrade: some commands are for the new build. */
export function skewed(plan: Plan, skew: Skew, dice: Dice): Plan {
  const fromMs = skew.upgradeMs + 300;
  const ops = plan.ops.map((op): Op => {
    if (op.type !== "call" || op.method !== "run" || op.atMs < fromMs || !dice.chance(0.5)) return op;
    return { ...op, method: "later", script: touching(op.script, dice) };
  });
  const upgrade: Fault = { type: "upgrade", atMs: skew.upgradeMs, restartsOld: dice.chance(0.4) };
  const base = { ...plan, ops, workers: dice.pick([1, 1, 2]) };
  if (!skew.isCalm) return { ...base, faults: [upgrade, ...plan.faults] };
  return { ...base, faults: [upgrade], rates: { delayMsMax: plan.rates.delayMsMax ?? 0 }, skewMsMax: 0 };
}
