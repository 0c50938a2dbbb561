import { silentLogger, type Logger } from "../../platform/log.ts";

/** What a process' log lines turn into. */
export interface SimLoggerOptions {
  readonly name: string;
  readonly trace: (text: () => string) => void;
  readonly report: (invariant: string, detail: string) => void;
  readonly isAlive: () => boolean;
  /** Errors that this schedule is bound to see. */
  readonly isExpected: (text: string) => boolean;
}

/** Errors that a schedule with faults is bound to see. */
const EXPECTED = new Set(["task given up", "task fails again and again"]);

/** Every other error is one that somebody must act on: the schedule fails. Lines of all levels go to the trace. */
export function simLogger({ name, trace, report, isAlive, isExpected }: SimLoggerOptions): Logger {
  const line = (level: string) => (fields: unknown, text: unknown) => {
    if (isAlive()) trace(() => `${name} ${level}: ${String(text)} ${show(fields)}`);
  };
  const logger = {
    child: () => logger,
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: (fields: unknown, text: string) => {
      line("error")(fields, text);
      if (isAlive() && !EXPECTED.has(text) && !isExpected(text))
        report("no errors in the log", `${name}: ${text} ${show(fields)}`);
    },
  };
  return { ...silentLogger, ...logger } as unknown as Logger;
}

function show(fields: unknown): string {
  if (typeof fields !== "object" || fields === null) return "";
  const texts = Object.entries(fields).map(([key, value]) => {
    const text = value instanceof Error ? (value.stack ?? value.message) : String(value);
    return `${key}=${text}`;
  });
  return texts.join(" ");
}
