import type { ScriptInit } from "./diary-actor.ts";
import type { CallOp, Plan } from "./plan.ts";

/** Where a script must be found, and what it follows from. */
export interface OpInfo {
  readonly script: ScriptInit;
  readonly name: string;
  readonly parent: string | undefined;
  readonly kind: "call" | "parcel" | "alarm";
  /** Messages in a row that led to it. */
  readonly depth: number;
  /** It may open its actor. */
  readonly creates: boolean;
}

/** Every script of a plan by its name, those that others send or arm included. */
export function plannedOps(plan: Plan): ReadonlyMap<string, OpInfo> {
  const ops = new Map<string, OpInfo>();
  for (const op of plan.ops) if (op.type === "call") index(ops, op);
  return ops;
}

function index(ops: Map<string, OpInfo>, { tenant, key, script, method }: CallOp): void {
  const add = (
    at: ScriptInit | undefined,
    to: string,
    parent: string | undefined,
    kind: OpInfo["kind"],
    depth: number,
    creates: boolean,
  ) => {
    if (at?.op === undefined) return;
    ops.set(at.op, { script: at, name: `sim.${tenant}.${to}`, parent, kind, depth, creates });
    for (const { script: next, to: target = "", touches } of at.sends ?? [])
      add(next, target, at.op, "parcel", depth + 1, touches !== true);
    for (const { script: next } of at.arms ?? []) add(next, to, at.op, "alarm", 0, false);
  };
  add(script, key, undefined, "call", 0, method === "open");
}
