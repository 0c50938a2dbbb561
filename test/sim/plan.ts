import type { FaultRates } from "../../actors/runtime/bus/bus-memory.ts";
import type { LIMITS } from "../../actors/runtime/limits.ts";
import { planArchive } from "./archive.ts";
import { Dice } from "./dice.ts";
import type { Rpc, ScriptInit } from "./diary-actor.ts";
import type { Ending as StoreEnding } from "./epilogue.ts";
import { planFaults, type Fault } from "./plan-faults.ts";
import { OpsPlan } from "./plan-ops.ts";
import { isShortLived, planShortLived } from "./plan-short-lived.ts";
import { drawSkew, skewed } from "./plan-skew.ts";
import { planPrivate } from "./private-keys.ts";

/** A command of the schedule; its op is its request id. */
export interface CallOp {
  readonly type: "call";
  readonly atMs: number;
  readonly method: "open" | "run" | "await" | "later";
  readonly tenant: string;
  readonly key: string;
  readonly script: ScriptInit & { readonly op: string };
  /** Sent by two callers at once. */
  readonly isTwice: boolean;
  /** Asked again until it is answered; otherwise the first silence is the end of it, for now. */
  readonly isPatient: boolean;
  readonly timeoutMs: number;
}

export interface ReadOp {
  readonly type: "read";
  readonly atMs: number;
  readonly tenant: string;
  readonly key: string;
}

/** Something that no client of ours sends. */
export interface PoisonOp {
  readonly type: "poison";
  readonly atMs: number;
  readonly kind: "bytes" | "kind" | "method" | "body";
  readonly op: string;
  readonly tenant: string;
  readonly key: string;
}

export type Op = CallOp | ReadOp | PoisonOp;

/** How the provider of the task queue treats one call. */
export interface ProviderRates {
  readonly failRate: number;
  readonly silentRate: number;
  readonly slowRate: number;
  readonly slowMsMax: number;
  /** Ops whose task is never done while faults last. */
  readonly hopelessRate: number;
}

/** Two builds side by side. */
export interface Skew {
  /** What the old build does not know. */
  readonly lacks: readonly Rpc[];
  /** Nothing else goes wrong: then what is unknown to one build must come to the other. */
  readonly isCalm: boolean;
  /** The old build stays beside the new one for good. */
  readonly keepsOld: boolean;
  readonly upgradeMs: number;
}

/** Everything about a schedule that does not depend on how it runs. */
export interface Plan {
  readonly seed: number;
  readonly logs: number;
  readonly analyticsLogs: number;
  readonly replicas: number;
  readonly limits: Partial<Record<keyof typeof LIMITS, number>>;
  readonly rates: FaultRates;
  /** Chance that a range is answered by a follower that lags, and by how much at most. */
  readonly staleRangeRate: number;
  readonly staleRangeMsMax: number;
  readonly skewMsMax: number;
  readonly provider: ProviderRates;
  readonly workers: number;
  readonly analyticsWorkers: number;
  readonly taskWorkers: number;
  readonly clients: number;
  readonly tenants: readonly string[];
  readonly keys: readonly string[];
  readonly ops: readonly Op[];
  readonly faults: readonly Fault[];
  /** How long the server knows the id of a message; two minutes are longer than any schedule. */
  readonly dedupeWindowMs: number;
  /** What happens to the store at last. */
  readonly ending: StoreEnding | undefined;
  /** Workers of an old build run beside one of the new build. */
  readonly skew: Skew | undefined;
  /** Messages that one input may cause in a chain, until faults are over; undefined: as many as ever. */
  readonly causalDepthMax: number | undefined;
  /** Workers of actors serve their own tasks as well, and make first attempts at home. */
  readonly tasksAtHome: boolean;
  /** Clients follow all changes of records, come and go. */
  readonly watchesRecords: boolean;
  /** Inputs may be too large while faults last. */
  readonly isTight: boolean;
  /** When INBOX loses all schedules that wait in it; undefined: never. */
  readonly timersLostMs: number | undefined;
  /** When somebody stores events again that are there; undefined: never. */
  readonly eventsCopiedMs: number | undefined;
  /** It is watched until every log has written down its positions, and on. */
  readonly isHeardOut: boolean;
  /** Tasks that fail rest so long that TASKS is purged meanwhile. */
  readonly areRestsLong: boolean;
  /** Events that are older are dropped; undefined: none are. */
  readonly eventsAgeMsMax: number | undefined;
  /** When somebody takes from lists what may leave them; empty: never. */
  readonly trimsMs: readonly number[];
  /** When a tenant that has nothing asks for what is others'. */
  readonly strangersMs: readonly number[];
  /** At the end everything ends and starts again. */
  readonly isRestarted: boolean;
  /** From here on nothing goes wrong any more. */
  readonly healMs: number;
}

/** What most schedules do without. */
const NOTHING_SPECIAL = {
  timersLostMs: undefined,
  eventsCopiedMs: undefined,
  isHeardOut: false,
  isRestarted: false,
  strangersMs: [],
  trimsMs: [],
  areRestsLong: false,
  eventsAgeMsMax: undefined,
};

const TENANTS = ["acme", "zeta"];
/** Schedules in which a worker is paused until another one has its logs, and goes on. */
const ZOMBIE_RATE = 0.15;
/** Of these: replaced before its lease has run out, because the server says that it is not connected. */
const UNHEARD_RATE = 0.3;
/** Schedules in which many messages kill the one worker of several logs. */
const KILLERS_RATE = 0.14;

/** Schedules with actors whose records go. */
const SHORT_LIVED_RATE = 0.1;
/** Schedules with actors whose every answer tells of their balance. */
const PRIVATE_RATE = 0.2;
/** Schedules at whose end something happens to the store. */
const ENDING_RATE = 0.12;
/** Schedules in which INBOX loses the timers that wait in it. */
const TIMERS_LOST_RATE = 0.02;
/** Schedules in which events are stored a second time. */
const EVENTS_COPIED_RATE = 0.03;
/** Schedules, of those whose idle logs soon write down what they have passed, that are watched behind their end. */
const HEARD_OUT_RATE = 0.2;
/** Schedules at whose end everything is started again; those with poison are the ones that leave most behind. */
const RESTARTED_RATE = 0.03;
const RESTARTED_WITH_POISON_RATE = 0.2;
/** Schedules whose tasks wait through a purge. */
const LONG_RESTS_RATE = 0.025;
/** Schedules whose events are dropped when they are old. */
const EVENTS_DROPPED_RATE = 0.08;
/** Clocks are nearly right where ages count. */
const AGE_SKEW_MS_MAX = 50;
/** Schedules with lists that are trimmed. */
const ARCHIVE_RATE = 0.06;
/** Schedules with a tenant that asks for what is others'. */
const STRANGERS_RATE = 0.1;
/** Schedules with two builds. */
const SKEW_RATE = 0.06;
/** Schedules in which a chain of messages soon is too long. */
const SHALLOW_RATE = 0.06;
/** Schedules whose clients watch records, too. */
const WATCHES_RATE = 0.3;

/** Draws a schedule. The same seed gives the same one. */
export function drawPlan(seed: number): Plan {
  const usual = withLongRests(withArchive(withPrivate(losingTimers(shared(drawUsual(seed))))));
  // A repeat that was answered from memory is read again: where its record has gone meanwhile it has its effects again.
  const mayDiffer = usual.ops.some((op) => op.type === "call" && isShortLived(op.key));
  const rate = usual.ops.some(({ type }) => type === "poison") ? RESTARTED_WITH_POISON_RATE : RESTARTED_RATE;
  const isRestarted = !mayDiffer && usual.ending === undefined && new Dice(seed, "restart").chance(rate);
  const plan = { ...usual, isRestarted, strangersMs: isRestarted ? [] : drawStrangers(usual) };
  const dice = new Dice(seed, "late");
  const isRestless = plan.limits.idlePositionMs !== 1_000 || plan.skew !== undefined;
  const isCopied = dice.chance(EVENTS_COPIED_RATE);
  const isHeardOut = dice.chance(HEARD_OUT_RATE) && !isRestless;
  if (!isCopied || plan.skew !== undefined || plan.ending !== undefined || isRestarted)
    return droppingEvents({ ...plan, isHeardOut });
  // Who takes a projection over does not know what was told before: only a calm system drops all copies.
  const calm = { faults: [], rates: { delayMsMax: plan.rates.delayMsMax ?? 0 }, skewMsMax: 0 };
  return { ...plan, ...calm, isHeardOut, eventsCopiedMs: dice.integer(700, plan.healMs) };
}

/** A journal that is full is of interest where logs wait for each other. */
function shared(plan: Plan): Plan {
  if (plan.ending !== "full-journal") return plan;
  return { ...plan, logs: new Dice(plan.seed, "crowd").pick([1, 2, 3, 3]) };
}

function withArchive(plan: Plan): Plan {
  const dice = new Dice(plan.seed, "archive");
  return dice.chance(ARCHIVE_RATE) ? { ...plan, ...planArchive(dice, plan) } : plan;
}

function withLongRests(plan: Plan): Plan {
  const dice = new Dice(plan.seed, "rests");
  if (!dice.chance(LONG_RESTS_RATE)) return plan;
  return { ...plan, areRestsLong: true, provider: { ...plan.provider, failRate: 0.6, hopelessRate: 0 } };
}

function droppingEvents(plan: Plan): Plan {
  const dice = new Dice(plan.seed, "drops");
  if (plan.ending !== undefined || plan.isRestarted || !dice.chance(EVENTS_DROPPED_RATE)) return plan;
  const limits = { ...plan.limits, purgeEveryMs: 400, journalPurgeEveryMs: 600 };
  const skewMsMax = Math.min(plan.skewMsMax, AGE_SKEW_MS_MAX);
  return { ...plan, limits, skewMsMax, eventsAgeMsMax: dice.pick([1, 100, 800]) };
}

function drawStrangers({ seed, healMs }: Plan): readonly number[] {
  const dice = new Dice(seed, "strangers");
  return dice.chance(STRANGERS_RATE) ? [dice.integer(400, healMs), healMs + 300] : [];
}

function withPrivate(plan: Plan): Plan {
  const dice = new Dice(plan.seed, "private");
  if (!dice.chance(PRIVATE_RATE)) return plan;
  const more = planPrivate(dice, dice.pick(plan.tenants), plan.faults, plan.healMs);
  return { ...plan, ops: [...plan.ops, ...more].toSorted((a, b) => a.atMs - b.atMs) };
}

/** A clock that is wrong by as much as a timer must be late shows nothing: there clocks are nearly right. */
function losingTimers(plan: Plan): Plan {
  const dice = new Dice(plan.seed, "lost");
  if (!dice.chance(TIMERS_LOST_RATE) || plan.skew !== undefined) return plan;
  const timersLostMs = dice.integer(600, plan.healMs);
  return { ...plan, timersLostMs, skewMsMax: Math.min(plan.skewMsMax, 1_000), ending: undefined };
}

/** A worker that is paused until another one has its logs, and what makes it so. */
interface Zombie {
  readonly kind: "frozen" | "unheard";
  readonly leaseMs: number;
  readonly opsUntilMs: number;
  readonly unheardRate?: number;
}

function drawZombie(seed: number): Zombie {
  return new Dice(seed, "unheard").chance(UNHEARD_RATE)
    ? { kind: "unheard", leaseMs: 3_000, opsUntilMs: 5_000, unheardRate: 1 }
    : { kind: "frozen", leaseMs: 600, opsUntilMs: 3_000 };
}

function drawUsual(seed: number): Plan {
  const dice = new Dice(seed, "plan");
  const zombie = dice.chance(ZOMBIE_RATE) ? drawZombie(seed) : undefined;
  const hasKillers = zombie === undefined && dice.chance(KILLERS_RATE);
  const opsUntilMs = zombie?.opsUntilMs ?? dice.pick([800, 1_500, 2_500]);
  const healMs = opsUntilMs + dice.integer(100, 1_200);
  const tenants = TENANTS.slice(0, dice.pick([1, 1, 2]));
  const keys = Array.from({ length: dice.integer(2, 4) }, (_, i) => `k${i}`);
  const system = {
    workers: zombie ? 2 : hasKillers ? 1 : dice.pick([1, 2, 2, 3]),
    analyticsWorkers: dice.pick([1, 1, 1, 2]),
    taskWorkers: dice.pick([1, 1, 1, 2]),
    clients: dice.pick([1, 2]),
  };
  const leaseMs = zombie?.leaseMs ?? dice.pick([600, 1_200, 3_000]);
  const extra = new Dice(seed, "extra");
  const watchesRecords = extra.chance(WATCHES_RATE);
  const causalDepthMax = extra.chance(SHALLOW_RATE) ? extra.pick([0, 1, 2]) : undefined;
  const limits = {
    ...drawLimits(dice, leaseMs),
    ...(causalDepthMax === undefined ? {} : { causalDepthMax }),
  };
  const skew = zombie || hasKillers || !extra.chance(SKEW_RATE) ? undefined : drawSkew(extra);
  const ops = new OpsPlan(dice, tenants, keys, opsUntilMs, hasKillers);
  const plan: Plan = {
    seed,
    isTight: limits.messageBytesMax !== undefined,
    ...NOTHING_SPECIAL,
    logs: hasKillers ? dice.pick([2, 3]) : dice.pick([1, 2, 2, 3]),
    analyticsLogs: dice.pick([1, 1, 2]),
    replicas: dice.pick([1, 3]),
    limits,
    rates: { ...drawRates(dice), unheardRate: zombie?.unheardRate ?? extra.pick([0, 0, 0.3, 0.9]) },
    staleRangeRate: dice.pick([0, 0.3, 0.8]),
    staleRangeMsMax: dice.pick([50, 2_000]),
    skewMsMax: dice.pick([0, 0, 1_000, 30_000]),
    provider: {
      failRate: dice.pick([0, 0, 0.1, 0.4]),
      silentRate: dice.pick([0, 0, 0.1, 0.3]),
      slowRate: dice.pick([0, 0.2]),
      slowMsMax: dice.pick([300, 1_500]),
      hopelessRate: dice.pick([0, 0, 0.3]),
    },
    ...system,
    tenants,
    keys,
    ops: ops.draw(),
    faults: planFaults(new Dice(seed, "faults"), healMs, leaseMs, zombie?.kind),
    healMs,
    watchesRecords,
    tasksAtHome: !hasKillers && new Dice(seed, "home").chance(0.6),
    causalDepthMax,
    skew,
    ending: extra.chance(ENDING_RATE)
      ? extra.pick<StoreEnding>(["full-journal", "full-journal", "rolled-back", "created-again", "gap"])
      : undefined,
    dedupeWindowMs: extra.pick([120_000, 120_000, 500, 0]),
  };
  if (skew !== undefined) return skewed(plan, skew, extra);
  if (!extra.chance(SHORT_LIVED_RATE)) return plan;
  // Late enough that what was opened first may be gone by then.
  const lateMs = Math.max(opsUntilMs, 2_800);
  const short = planShortLived(extra, tenants[0] ?? "", lateMs);
  const more = { ops: [...plan.ops, ...short].toSorted((a, b) => a.atMs - b.atMs) };
  return { ...plan, ...more, healMs: Math.max(healMs, lateMs + 200) };
}

function drawRates(dice: Dice): FaultRates {
  const some = (rates: readonly number[]) => dice.pick([0, 0, ...rates]);
  return {
    delayMsMax: dice.pick([0, 0, 1, 3, 15]),
    slowRate: some([0.02, 0.1]),
    slowMsMax: dice.pick([100, 900]),
    lostRequestRate: some([0.01, 0.05]),
    lostReplyRate: some([0.01, 0.05, 0.15]),
    lateRate: some([0.01, 0.05]),
    lateMsMax: dice.pick([50, 1_500]),
    inFlightRate: some([0.02, 0.1]),
    staleRate: dice.pick([0, 0.2, 0.6]),
    staleChangesMax: dice.pick([2, 12]),
    doubleFireRate: some([0.2, 0.8]),
    resetRate: some([0.02, 0.1]),
    resetMsMax: dice.pick([50, 700]),
    coreLostRate: some([0.02, 0.1]),
  };
}

/** Bounds small enough to be met: what production reaches under load, a schedule reaches at once. */
function drawLimits(dice: Dice, leaseMs: number): Plan["limits"] {
  const timeoutMs = dice.pick([250, 600, 2_000]);
  return {
    leaseMs,
    leaseRenewMs: Math.floor(leaseMs / 4),
    leaseSuspectMs: Math.floor(leaseMs / 2),
    ownerSilentMsMax: Math.floor(leaseMs * 0.4),
    appendTimeoutMs: timeoutMs,
    readTimeoutMs: timeoutMs,
    readWaitMs: timeoutMs,
    retryDelayMs: dice.pick([20, 100]),
    retryDelayMsMax: dice.pick([200, 2_000]),
    commitStepsMax: dice.pick([4_096, 6, 2]),
    commitEntriesMax: dice.pick([512, 3, 1]),
    commitRecordsMax: dice.pick([600, 4]),
    commitEventsMax: dice.pick([600, 4]),
    batchMessagesMax: dice.pick([900, 16, 3]),
    recordsCachedMax: dice.pick([20_000, 5, 2]),
    recordsDirtyMax: dice.pick([20_000, 4]),
    listPageEntriesMax: dice.pick([64, 2]),
    scheduleDelayMs: dice.pick([1_000, 100]),
    projectionDelayMs: dice.pick([50, 5, 2, 400]),
    purgeEveryMs: dice.pick([400, 5_000]),
    idlePositionMs: dice.pick([1_000, 30_000]),
    inputsQueuedMax: dice.pick([20_000, 20]),
    repliesPerMessageMax: dice.pick([128, 1]),
    bundleEntriesMax: dice.pick([256, 2]),
    logAgeMsMin: dice.pick([86_400_000, 300]),
    journalPurgeEveryMs: dice.pick([600, 60_000]),
    ...(dice.chance(TIGHT_RATE) ? TIGHT : {}),
  };
}

/** Messages so small that commits must be made smaller, and some inputs fit none. */
const TIGHT = { messageBytesMax: 1_700, headerBytesMax: 100, commitBytesMax: 1_000, recordBytesMax: 700 };
const TIGHT_RATE = 0.1;
