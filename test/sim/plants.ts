/** A bug put into the runtime on purpose: in one file, one text in place of another that stands there once. */
export interface Plant {
  readonly name: string;
  /** The rule of the journal protocol that it breaks. */
  readonly rule: string;
  /** Below actors/runtime. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** Opens the limits, so that each schedule can have its own; the runtime is the same otherwise. */
export const OPEN_LIMITS: Plant = {
  name: "open-limits",
  rule: "",
  file: "limits.ts",
  find: "export const LIMITS = Object.freeze({",
  replace: "export const LIMITS = ({",
};

function planted(rule: string, name: string, file: string, find: string, replace: string): Plant {
  return { name, rule, file, find, replace };
}

/** One for each rule that a schedule can break; `npm run sim -- --plants` shows that each is found. */
export const PLANTS: readonly Plant[] = [
  planted("J1", "entries-taken-of-a-bundle-forgotten", "inputs.ts", "input.index < taken.taken", "false"),
  planted(
    "J1",
    "positions-not-in-the-commit",
    "draft.ts",
    "const positions = [...head.positions].map(",
    "const positions = [].map(",
  ),
  planted("J1", "position-falls-back", "inputs.ts", "if (isIdle && seen >", "if (false && seen >"),
  planted("J2", "carry-not-in-the-takeover", "takeover.ts", "{ carry: commit.carry }", "{ carry: [] }"),
  planted(
    "J2",
    "positions-alone-drop-the-carry",
    "log-owner.ts",
    "const data = encodeCommit(head, { carry: [...this.#carry] });",
    "const data = encodeCommit(head, {});",
  ),
  planted(
    "J3",
    "purge-ahead-of-a-position",
    "purge.ts",
    "Math.min(unread, unprojected, young, sequence)",
    "Math.min(unprojected, young, sequence)",
  ),
  planted(
    "J3",
    "purge-ahead-of-a-watermark",
    "purge.ts",
    "Math.min(unread, unprojected, young, sequence)",
    "Math.min(unread, young, sequence)",
  ),
  planted(
    "J5",
    "what-is-for-others-holds-the-position",
    "inputs.ts",
    "const moved = isIdle && seen > taken.sequence;",
    "const moved = seen > taken.sequence;",
  ),
  planted(
    "J6",
    "ids-without-their-stream",
    "applier.ts",
    "${this.#prefix}${LETTER[source]}$",
    "${this.#prefix}$",
  ),
  planted(
    "J6",
    "time-of-the-worker",
    "step-run.ts",
    "const nowMs = Math.max(env.atMs, Number(meta.nowMs));",
    "const nowMs = Math.max(env.atMs - 5_000, Number(meta.nowMs));",
  ),
  planted(
    "J7",
    "uncommitted-reads",
    "reads.ts",
    "visible(record?.committed ?? ABSENT)",
    "visible(record?.bytes() ?? ABSENT)",
  ),
  planted(
    "J7",
    "uncommitted-projection",
    "projector.ts",
    ": { subject, data: record.committed, ttlSeconds };",
    ": { subject, data: record.bytes(), ttlSeconds };",
  ),
  planted("J8", "carry-dropped", "draft.ts", "carry: [...this.carry],", "carry: [],"),
  planted(
    "J8",
    "carry-after-the-inputs",
    "log-owner.ts",
    "this.#applier.fill(draft, this.#carry, this.queue, this.#entriesMax)",
    "this.#applier.fill(draft, [], this.queue, this.#entriesMax)",
  ),
  planted("J9", "dead-letter-not-in-the-commit", "draft.ts", "events,\n      deadLetters,", "events,"),
  planted(
    "J9",
    "redriven-letter-forgotten",
    "step.ts",
    "meta.redriven.includes(entry.redrive.deadLetter)",
    "false",
  ),
  planted("J10", "append-without-cas", "journal.ts", "expectLastSequence: this.#last };", "};"),
  planted(
    "J10",
    "conflict-overridden",
    "journal.ts",
    `if ((end?.sequence ?? 0) !== this.#last) return { kind: "fenced" };`,
    "this.#last = end?.sequence ?? 0;",
  ),
  planted(
    "J10",
    "unknown-taken-for-committed",
    "journal.ts",
    "const readMs = this.#clock.monotonicMs();",
    `if (outcome.kind === "unknown") return this.#committed(this.#last, sentMs); const readMs = 0;`,
  ),
  planted(
    "J10",
    "unknown-taken-for-a-refusal-by-the-client",
    "inbox-writer.ts",
    `if (outcome.kind !== "unknown") {`,
    "if (true) {",
  ),
  planted(
    "J10",
    "unknown-taken-for-stored",
    "derived.ts",
    `if (outcome.kind === "stored") return true;`,
    `if (outcome.kind !== "refused") return true;`,
  ),
  planted(
    "J11",
    "refusal-not-remembered",
    "step-request.ts",
    `  return { kind: "applied", effects: { ...noEffects(), replies: [{ request, result, replayed: false }] } };`,
    `  return { kind: "answered", effects: { ...noEffects(), replies: [{ request, result, replayed: false }] } };`,
  ),
  planted("J12", "crash-loop-never-ends", "takeover.ts", "poison,\n", "poison: undefined,\n"),
  planted("J13", "projection-without-cas", "watermark.ts", "expectLastSequence: this.#revision,", ""),
  planted(
    "J13",
    "watermark-ahead-of-a-derived-task",
    "log-owner.ts",
    "Math.min(last, this.#derived.storedThrough(last))",
    "last",
  ),
  planted(
    "J13",
    "watermark-ahead-of-records",
    "projector.ts",
    "nextFirst === undefined ? lastCommit() : nextFirst - 1",
    "lastCommit()",
  ),
  planted(
    "J13",
    "events-without-watermark",
    "restore.ts",
    "if (sequence > eventMark.logSequence) events",
    "events",
  ),
  planted("J14", "zombie-adopts-a-newer-mark", "watermark.ts", "if (mark.epoch > epoch)", "if (false)"),
  planted(
    "J16",
    "dirty-records-evicted",
    "record-store.ts",
    "this.#dirty.has(record) || record.isHeld",
    "record.isHeld",
  ),
  planted(
    "J17",
    "stale-cold-read",
    "record-store.ts",
    "Number(fromBinary(MarkSchema, stored.data).logSequence) >= known",
    "true",
  ),
  planted(
    "J18",
    "replay-stops-early",
    "takeover.ts",
    "    if (page.length === 0) {",
    "    if (page.length === 0) return;\n    if (page.length === 0) {",
  ),
  planted(
    "J19",
    "purge-takes-the-timers",
    "purge.ts",
    "topology.inbox(group, owner.log), nextSequence",
    `">", nextSequence`,
  ),
  planted("J20", "late-outcome-dropped", "step.ts", "if (!isDone && task.givenUp)", "if (task.givenUp)"),
  planted(
    "J20",
    "outcome-applied-twice",
    "step.ts",
    "if (isDone) closeTask(meta, task);",
    "if (isDone) task.givenUp = true;",
  ),
  planted(
    "J21",
    "takeover-forgets-armed-timers",
    "restore.ts",
    "commit.schedules.filter((schedule) => isArmed(store, schedule))",
    "commit.schedules.slice(0, 0)",
  ),
  planted("J21", "timer-not-recorded", "draft.ts", "      schedules,\n", ""),
  planted("J13", "task-not-recorded", "draft.ts", "      tasks,\n", ""),
  planted("J22", "answered-request-not-remembered", "step-context.ts", "  meta.answers.push(", "  [].push("),
  planted(
    "J22",
    "cancelled-timer-still-fires",
    "step.ts",
    "timer.name === name && timer.arm === arm",
    "timer.name === name",
  ),
  planted(
    "J23",
    "owner-that-may-be-replaced-answers",
    "log-owner.ts",
    "return clock.monotonicMs() - lease.renewedSentMs <= LIMITS.ownerSilentMsMax && !this.#isInDoubt();",
    "return clock !== undefined && lease !== undefined;",
  ),
  planted(
    "J23",
    "a-lease-that-ran-out-counts-again-at-once",
    "log-owner.ts",
    "<= LIMITS.ownerSilentMsMax && !this.#isInDoubt();",
    "<= LIMITS.ownerSilentMsMax;",
  ),
  planted(
    "J12",
    "an-announcement-without-effect-stands",
    "log-owner.ts",
    "if (!isNothing && this.#endTurn !== undefined) await this.#commitPositions();",
    "",
  ),
  planted(
    "J12",
    "carried-poison-and-the-next-unannounced",
    "applier.ts",
    "draft.steps++; // a careful commit ends here: what comes next has not been announced",
    "",
  ),
  planted(
    "J13",
    "projection-not-woken-at-its-end",
    "projector.ts",
    "if (isMore || this.#isWanted) this.wake();",
    "if (isMore) this.wake();",
  ),
  planted(
    "J3",
    "restarted-worker-is-taken-for-its-last-life",
    "membership.ts",
    "if (started !== undefined && member.lease.startedMs.toString(36) !== started) return true;",
    "",
  ),
  planted(
    "J24",
    "a-full-store-ends-the-owner",
    "journal.ts",
    `outcome.kind === "refused" && !outcome.full`,
    `outcome.kind === "refused"`,
  ),
];
