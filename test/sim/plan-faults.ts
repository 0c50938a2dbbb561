import type { Dice } from "./dice.ts";

/** Which processes a fault may hit. */
export type Role = "worker" | "analytics" | "tasks" | "client";

/** What goes wrong, and when. */
export type Fault =
  | { readonly type: "crash"; readonly atMs: number; readonly role: Role; readonly restart: Restart }
  | {
      readonly type: "crash-at-write";
      readonly atMs: number;
      readonly role: Role;
      readonly restart: Restart;
      /** Start of the subject of the write. */
      readonly subject: string;
      /** Writes that are let through first. */
      readonly after: number;
      /** Undefined: the write never leaves. Otherwise the process dies so much later. */
      readonly delayMs: number | undefined;
    }
  | {
      readonly type: "freeze";
      readonly atMs: number;
      readonly role: Role;
      readonly forMs: number;
      readonly timersFirst: boolean;
    }
  | { readonly type: "stop"; readonly atMs: number; readonly role: Role; readonly restart: Restart }
  | { readonly type: "join"; readonly atMs: number; readonly role: Role }
  | { readonly type: "server-down"; readonly atMs: number; readonly forMs: number }
  | { readonly type: "full"; readonly atMs: number; readonly forMs: number; readonly stream: FullStream }
  | { readonly type: "delete-consumer"; readonly atMs: number }
  /** A worker of the new build comes; an old one may be started again behind it. */
  | { readonly type: "upgrade"; readonly atMs: number; readonly restartsOld: boolean };

export type FullStream = "log" | "actors" | "events" | "dead";

export interface Restart {
  readonly afterMs: number;
  readonly keepsId: boolean;
}

const SUBJECTS = [
  "log.",
  "log.",
  "$KV.actors.",
  "evmark.",
  "task.",
  "timer.",
  "inbox.",
  "dead.",
  "$KV.leases",
];
const ROLES: readonly Role[] = [
  "worker",
  "worker",
  "worker",
  "worker",
  "analytics",
  "analytics",
  "tasks",
  "client",
];

/** Draws faults of processes and of the server; those of single requests are rates. */
export function planFaults(
  dice: Dice,
  healMs: number,
  leaseMs: number,
  zombie: "frozen" | "unheard" | undefined,
): readonly Fault[] {
  const faults: Fault[] = [];
  if (zombie !== undefined) {
    // One that nobody hears is back before its lease has run out.
    const forMs = zombie === "frozen" ? leaseMs + dice.integer(500, 1_300) : leaseMs - dice.integer(520, 620);
    const atMs = dice.integer(500, 1_000);
    faults.push({ type: "freeze", atMs, role: "worker", forMs, timersFirst: dice.chance(0.5) });
  }
  const count = dice.pick([0, 1, 1, 2, 3, 5]);
  for (let i = 0; i < count; i++) faults.push(drawFault(dice, dice.integer(200, healMs - 100), leaseMs));
  return faults.toSorted((a, b) => a.atMs - b.atMs);
}

function drawFault(dice: Dice, atMs: number, leaseMs: number): Fault {
  const role = dice.pick(ROLES);
  const restart = { afterMs: dice.pick([0, 50, 500, leaseMs + 500]), keepsId: dice.chance(0.5) };
  const kind = dice.integer(0, 99);
  if (kind < 18) return { type: "crash", atMs, role, restart };
  if (kind < 48) {
    const subject = role === "worker" || role === "analytics" ? dice.pick(SUBJECTS) : "inbox.";
    const delayMs = dice.chance(0.4) ? undefined : dice.integer(0, 6);
    return { type: "crash-at-write", atMs, role, restart, subject, after: dice.integer(0, 3), delayMs };
  }
  if (kind < 75) {
    const forMs = dice.pick([50, 400, leaseMs, leaseMs + 400, leaseMs + 900, leaseMs + 2_000]);
    return { type: "freeze", atMs, role, forMs, timersFirst: dice.chance(0.5) };
  }
  if (kind < 83) return { type: "stop", atMs, role, restart };
  if (kind < 88) return { type: "join", atMs, role: dice.pick(["worker", "worker", "analytics", "tasks"]) };
  if (kind < 93) return { type: "server-down", atMs, forMs: dice.pick([50, 500, 2_000]) };
  if (kind < 97) {
    const stream = dice.pick(["log", "actors", "events", "dead"] as const);
    return { type: "full", atMs, forMs: dice.pick([200, 1_500]), stream };
  }
  return { type: "delete-consumer", atMs };
}
