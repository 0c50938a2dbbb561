import type { Fold, Report, Version } from "./fold.ts";
import { isShortLived } from "./plan-short-lived.ts";
import type { OpInfo } from "./planned-ops.ts";

/** What it takes to judge the lives of records. */
export interface LifeOracleOptions {
  readonly ops: ReadonlyMap<string, OpInfo>;
  readonly fold: Fold;
  readonly report: Report;
}

/** J22: a record is made by what creates it, and goes only when its time is over and nothing is open. J6: its time. */
export class LifeOracle {
  readonly #options: LifeOracleOptions;

  constructor(options: LifeOracleOptions) {
    this.#options = options;
  }

  check(): void {
    const { fold } = this.#options;
    for (const [name, versions] of fold.records) {
      if (!name.startsWith("sim.")) continue;
      let before: Version | undefined;
      for (const version of versions) {
        const isBorn = before === undefined || fold.meta(version).revision < fold.meta(before).revision;
        if (before !== undefined && isBorn) this.#checkEnd(name, before, version);
        if (before !== undefined && !isBorn) this.#checkTime(name, before, version);
        if (isBorn || fold.state(before ?? version).diary.length === 0) this.#checkBirth(name, version);
        before = version;
      }
      if (before !== undefined) this.#checkLast(name, before);
    }
  }

  /** J6: inputs come from several streams, each with times of its own; to an actor time never goes back. */
  #checkTime(name: string, before: Version, after: Version): void {
    const { fold, report } = this.#options;
    const [fromMs, toMs] = [before, after].map((version) => fold.meta(version).nowMs);
    if (fromMs !== undefined && toMs !== undefined && toMs < fromMs)
      report("J6 time never goes back", `${name}@${after.sequence}: ${toMs} after ${fromMs}`);
  }

  #checkEnd(name: string, last: Version, next: Version): void {
    const { fold } = this.#options;
    const { timers, tasks, waiters, ttlSeconds } = fold.meta(last);
    const isOpen = timers.length + tasks.length + waiters.length > 0;
    const livedMs = next.atMs - last.atMs;
    if (isOpen || ttlSeconds === 0 || livedMs < ttlSeconds * 1_000)
      this.#options.report(
        "J22 a record goes when its time is over and nothing is open",
        `${name}@${last.sequence} is gone after ${livedMs} ms, ${timers.length} timers, ${tasks.length} tasks`,
      );
  }

  #checkBirth(name: string, version: Version): void {
    const [op] = this.#options.fold.state(version).diary;
    const creates = op === undefined || this.#options.ops.get(op)?.creates === true;
    if (!creates)
      this.#options.report("J22 only what creates meets an absent record", `${name}: ${op} opens it`);
  }

  /** What was only refused goes after two days; once it is opened it stays, unless it asks for its end. */
  #checkLast(name: string, version: Version): void {
    const { fold } = this.#options;
    const { revision, ttlSeconds } = fold.meta(version);
    const { anomalies, diary } = fold.state(version);
    const asked = diary.reduce((ttl, op) => this.#options.ops.get(op)?.script.ttlSeconds || ttl, 0);
    if (revision > 0n && ttlSeconds !== asked)
      this.#options.report("J22 a record stays as long as asked", `${name}: ${ttlSeconds} s, not ${asked}`);
    // A request is known as long as the record: asked again behind its end, it has its effects again.
    const isForgetful = isShortLived(name.slice(name.lastIndexOf(".") + 1));
    const anomaly = anomalies.find((text) => !(isForgetful && text.endsWith(" applied again")));
    if (anomaly !== undefined) this.#options.report("no anomalies", `${name}: ${anomaly}`);
  }
}
