import type { Logger } from "../../../platform/log.ts";

/** One failed attempt, as the log shows it. */
export interface AttemptFailure {
  readonly queue: string;
  readonly taskId: string;
  readonly attempt: number;
  readonly error: string;
}

interface Repeats {
  readonly failure: AttemptFailure;
  count: number;
}

/** From this attempt on a task that is never given up is somebody's business. */
const ALERT_ATTEMPTS_MIN = 8;
/** Errors told apart between two flushes; what comes beyond them is told apart by its queue alone. */
const ERRORS_MAX = 32;

/**
 * Says of each error of a queue once that it happened, and with each flush how often it has since: an outage fails
 * hundreds of attempts a second, all in the same words.
 */
export class FailureLog {
  readonly #log: Logger;
  readonly #seen = new Map<string, Repeats>();

  constructor(log: Logger) {
    this.#log = log;
  }

  add(failure: AttemptFailure): void {
    const { queue, error, attempt } = failure;
    const isAlert = attempt >= ALERT_ATTEMPTS_MIN;
    const name = this.#seen.size < ERRORS_MAX ? `${queue} ${isAlert} ${error}` : `${queue} ${isAlert}`;
    const known = this.#seen.get(name);
    if (known !== undefined) return void known.count++;
    this.#seen.set(name, { failure, count: 0 });
    if (isAlert) this.#log.error(failure, "task fails again and again");
    else this.#log.warn(failure, "task failed");
  }

  /** Call every second. */
  flush(): void {
    for (const { failure, count: more } of this.#seen.values()) {
      const { queue, error } = failure;
      if (more > 0) this.#log.warn({ queue, error, more }, "more tasks failed like this");
    }
    this.#seen.clear();
  }
}
