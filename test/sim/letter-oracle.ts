import { fromBinary } from "@bufbuild/protobuf";
import type { DeadLetter } from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import {
  AlarmSchema,
  Ending,
  ParcelSchema,
  ScriptSchema,
} from "../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import { LIST_KIND } from "../../actors/runtime/step/step-context.ts";
import type { Fold, Report } from "./fold.ts";
import type { Op, Plan, PoisonOp } from "./plan.ts";
import type { Fault } from "./plan-faults.ts";
import type { OpInfo } from "./planned-ops.ts";

/** What it takes to judge dead letters. */
export interface LetterOracleOptions {
  readonly plan: Plan;
  readonly ops: ReadonlyMap<string, OpInfo>;
  readonly fold: Fold;
  readonly report: Report;
}

/** Reasons that are gone once faults are over. */
const REDRIVABLE: ReadonlySet<string> = new Set(["HANDLER_FAILED", "CRASH_LOOP", "TOO_LARGE", "TOO_DEEP"]);
/** Faults after which another owner takes over. */
const FATAL: readonly Fault["type"][] = [
  "crash",
  "crash-at-write",
  "freeze",
  "stop",
  "server-down",
  "full",
  "join",
];

/** Knows which messages may end in the dead letters, and what must come of them. */
export class LetterOracle {
  readonly #options: LetterOracleOptions;
  /** Dead letters have been sent again: from now on their messages must be applied, too. */
  isRedriven = false;

  constructor(options: LetterOracleOptions) {
    this.#options = options;
  }

  /** The letter that holds a script. */
  letterOf(op: string): DeadLetter | undefined {
    for (const letter of this.#options.fold.deadLetters.values()) if (opOf(letter) === op) return letter;
    return undefined;
  }

  /** The firing of a timer waits to be sent again. */
  isFiringDead(arm: string): boolean {
    const { deadLetters } = this.#options.fold;
    const isOf = ({ entry }: DeadLetter) => entry?.source.case === "firing" && entry.source.value.arm === arm;
    return !this.isRedriven && [...deadLetters.values()].some(isOf);
  }

  /** The outcome killed its owners, or was announced when something else did, and waits to be sent again. */
  isOutcomeDead(task: string): boolean {
    const { deadLetters } = this.#options.fold;
    const isOf = ({ entry }: DeadLetter) =>
      entry?.source.case === "outcome" && entry.source.value.task === task;
    return !this.isRedriven && [...deadLetters.values()].some(isOf);
  }

  /** What the letter holds need not be applied, or not yet. */
  mayBeMissing(letter: DeadLetter | undefined): boolean {
    return letter !== undefined && (!this.isRedriven || letter.reason === "NOT_FOUND");
  }

  lettersOfPoison({ op }: PoisonOp): readonly DeadLetter[] {
    const isOf = ({ entry, raw }: DeadLetter) =>
      entry?.trace === op || Buffer.from(raw).toString("latin1").endsWith(op);
    return [...this.#options.fold.deadLetters.values()].filter(isOf);
  }

  /** What is announced when its process is killed from outside cannot be told from what has killed it. */
  #mayHaveKilled(letter: DeadLetter): boolean {
    const { plan, fold } = this.#options;
    if (fold.announced === 0) return false;
    const isPeaceful = !plan.faults.some(({ type }) => FATAL.includes(type));
    return !isPeaceful || this.#options.ops.get(opOf(letter) ?? "")?.script.ending === Ending.KILL;
  }

  /** Only what was planted, and each once. */
  check(): void {
    const { plan, fold, report } = this.#options;
    for (const op of plan.ops) {
      if (op.type !== "poison") continue;
      const count = this.lettersOfPoison(op).length;
      if (count !== 1) report("poison stays local", `${op.op} (${op.kind}) is in ${count} dead letters`);
    }
    const endings = [...this.#options.ops.values()].map(({ script }) => script.ending);
    for (const letter of fold.deadLetters.values()) {
      const { reason, error } = letter;
      if (this.#isPoison(letter) || this.#isOfNoBuild(letter)) continue;
      if (reason === "NOT_FOUND" && letter.entry?.method === "Touch") continue;
      const isPlanted =
        reason === "HANDLER_FAILED"
          ? endings.includes(Ending.THROW) && error.endsWith(" throws")
          : reason === "TOO_LARGE"
            ? plan.isTight
            : reason === "TOO_DEEP"
              ? this.#isTooDeep(letter)
              : reason === "CRASH_LOOP" && this.#mayHaveKilled(letter);
      if (!isPlanted) report("no dead letters but the planted ones", `${letter.id}: ${reason}: ${error}`);
    }
  }

  #isPoison({ reason, entry }: DeadLetter): boolean {
    if (reason === "UNDECODABLE") return true;
    const isOf = (op: Op) => op.type === "poison" && op.op === entry?.trace;
    return reason.startsWith("UNKNOWN_") && this.#options.plan.ops.some(isOf);
  }

  /** No worker of the new build was there, or none that was heard of. */
  #isOfNoBuild({ reason }: DeadLetter): boolean {
    return reason === "UNKNOWN_METHOD" && this.#options.plan.skew?.isCalm === false;
  }

  #isTooDeep(letter: DeadLetter): boolean {
    const { causalDepthMax = Infinity } = this.#options.plan;
    // Only what comes from outside opens an actor, and puts it into its list.
    const depth =
      letter.entry?.kind === LIST_KIND ? 1 : (this.#options.ops.get(opOf(letter) ?? "")?.depth ?? 0);
    return depth > causalDepthMax;
  }

  /** Ids of the dead letters whose message must come to be applied once it is sent again. */
  redrivable(): readonly string[] {
    const { fold } = this.#options;
    return [...fold.deadLetters.values()].filter((letter) => this.#isRedrivable(letter)).map(({ id }) => id);
  }

  #isRedrivable(letter: DeadLetter): boolean {
    if (letter.entry === undefined) return false;
    return REDRIVABLE.has(letter.reason) || (letter.reason === "UNKNOWN_METHOD" && !this.#isPoison(letter));
  }
}

/** The script that a dead letter holds, by name. */
export function opOf({ entry }: DeadLetter): string | undefined {
  if (entry === undefined || entry.kind !== "sim") return undefined;
  try {
    if (entry.method === "Receive" || entry.method === "Touch")
      return fromBinary(ParcelSchema, entry.body).script?.op;
    if (entry.method === "OnTimer") return fromBinary(AlarmSchema, entry.body).script?.op;
    return fromBinary(ScriptSchema, entry.body).op;
  } catch {
    return undefined;
  }
}
