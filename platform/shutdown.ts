import { type Clock, systemClock } from "./clock.ts";
import type { Logger } from "./log.ts";

export interface ShutdownOptions {
  readonly log: Logger;
  /** All stops together get this long; then the process exits with 1. */
  readonly deadlineMs: number;
  readonly clock?: Clock;
  /** How the process ends; tests pass their own. */
  readonly exit?: (code: number) => void;
}

/** Stops parts in the reverse order of their start. */
export interface Shutdown {
  /** Remembers how to stop a part. Added while stopping, it is stopped too. */
  add(name: string, stop: () => Promise<void> | void): void;
  /**
   * Stops everything once and resolves to whether all parts stopped without error in time. A failing stop is
   * logged and the next one runs. Later calls get the same promise. Does not exit.
   */
  stop(reason: string): Promise<boolean>;
  /**
   * SIGTERM and SIGINT stop and exit with 0 (1 if a stop failed or the deadline passed); a second signal exits
   * at once with 1, unless it only echoes the first. An unhandled rejection or exception is logged and exits with
   * 1. Returns how to undo it.
   */
  onSignals(): () => void;
  /** Aborted as soon as stopping begins: for waits and loops. */
  readonly signal: AbortSignal;
}

export function createShutdown(options: ShutdownOptions): Shutdown {
  const { log, deadlineMs, clock = systemClock, exit = (code: number) => process.exit(code) } = options;
  const parts: { name: string; stop: () => Promise<void> | void }[] = [];
  const abort = new AbortController();
  let running: Promise<boolean> | undefined;
  let isDrained = false;

  const stopAll = async (): Promise<boolean> => {
    let clean = true;
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      const startedMs = clock.monotonicMs();
      try {
        await part.stop();
        log.debug(
          { part: part.name, elapsedMs: Math.round(clock.monotonicMs() - startedMs) },
          "part stopped",
        );
      } catch (err) {
        clean = false;
        log.error({ part: part.name, err }, "part failed to stop");
      }
    }
    isDrained = true;
    return clean;
  };

  const withDeadline = (work: Promise<boolean>): Promise<boolean> =>
    new Promise((resolve) => {
      const timer = clock.setTimer(() => {
        log.error({ deadlineMs, left: parts.map((part) => part.name) }, "shutdown deadline passed");
        resolve(false);
      }, deadlineMs);
      void work.then((clean) => {
        timer.cancel();
        resolve(clean);
      });
    });

  const stop = (reason: string): Promise<boolean> => {
    if (running === undefined) {
      log.info({ reason }, "stopping");
      abort.abort();
      running = withDeadline(stopAll());
    }
    return running;
  };

  let first: { readonly signal: NodeJS.Signals; readonly atMs: number } | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    if (first?.signal === signal && clock.monotonicMs() - first.atMs < ECHO_MS) return;
    first ??= { signal, atMs: clock.monotonicMs() };
    if (running !== undefined) {
      log.warn({ signal }, "second signal, exiting at once");
      exit(1);
      return;
    }
    void stop(signal).then((clean) => exit(clean ? 0 : 1));
  };
  const onDefect = (err: unknown) => {
    log.fatal({ err }, "uncaught error, exiting");
    exit(1);
  };

  return {
    add: (name, stopPart) => {
      parts.push({ name, stop: stopPart });
      if (isDrained) void stopAll(); // too late for the promise, not for the part
    },
    stop,
    onSignals: () => listenToProcess(onSignal, onDefect),
    signal: abort.signal,
  };
}

/** Ctrl-C reaches a process twice where its parent passes signals on (npm, timeout): that is one wish to stop. */
const ECHO_MS = 300;

function listenToProcess(
  onSignal: (name: NodeJS.Signals) => void,
  onDefect: (err: unknown) => void,
): () => void {
  process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
  process.on("uncaughtException", onDefect).on("unhandledRejection", onDefect);
  return () => {
    process.off("SIGTERM", onSignal).off("SIGINT", onSignal);
    process.off("uncaughtException", onDefect).off("unhandledRejection", onDefect);
  };
}
