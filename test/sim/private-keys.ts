import type { Dice } from "./dice.ts";
import type { CallOp, Op } from "./plan.ts";
import type { Fault } from "./plan-faults.ts";

const KEYS = ["p0", "p1"];
/** What the second one sends to. */
const RECEIVER = "p0";
const AMOUNT_MAX = 9;
/** Operations on one key: few enough to try every order that their times allow. */
const OPS_MAX = 12;

/** True for the key of an actor whose every answer tells of its balance. */
export function isPrivate(key: string): boolean {
  return KEYS.includes(key);
}

/** A paused worker that goes on believes for some milliseconds that it owns what another one has. */
const DOUBT_MS = 30;

/**
 * Callers that put in, take out what is there, and look, some at once: each operation must seem to happen at one
 * moment. Many come when a worker goes on that was paused. The second actor sends to the first one, so that what comes
 * to that has no order of its own.
 */
export function planPrivate(
  dice: Dice,
  tenant: string,
  faults: readonly Fault[],
  untilMs: number,
): readonly Op[] {
  const doubtsMs = faults.flatMap((fault) =>
    fault.type === "freeze" && fault.role === "worker" ? [fault.atMs + fault.forMs] : [],
  );
  const drawMs = () =>
    doubtsMs.length > 0 && dice.chance(0.6)
      ? Math.min(untilMs, dice.pick(doubtsMs) + dice.integer(-DOUBT_MS, DOUBT_MS))
      : dice.integer(300, untilMs);
  const ops: Op[] = [];
  const keys = KEYS.slice(0, dice.pick([1, 1, 2]));
  const call = (method: CallOp["method"], key: string, atMs: number, isTaking: boolean): CallOp => {
    const amount = BigInt(dice.integer(1, AMOUNT_MAX));
    const op = `p${ops.length}`;
    const isSending = key !== RECEIVER && dice.chance(0.5);
    const sends = isSending ? [{ to: RECEIVER, amount: 2n, script: { op: `${op}s` } }] : [];
    const script = { op, amount: isTaking ? -amount : amount, covered: true, sends };
    const [isTwice, isPatient] = [dice.chance(0.1), dice.chance(0.7)];
    return { type: "call", atMs, method, tenant, key, script, isTwice, isPatient, timeoutMs: 1_500 };
  };
  for (const key of keys) {
    // Some are there from the start, some are opened when others have been told that they are not.
    if (dice.chance(0.8)) ops.push(call("open", key, dice.integer(100, 600), false));
    let atMs = 0;
    for (let i = dice.integer(OPS_MAX / 2, OPS_MAX - 1); i > 0; i--) {
      if (!dice.chance(0.6)) atMs = drawMs(); // else at once with the one before
      if (dice.chance(0.35)) ops.push({ type: "read", atMs, tenant, key });
      else ops.push(call("run", key, atMs, dice.chance(0.6)));
    }
  }
  return ops;
}
