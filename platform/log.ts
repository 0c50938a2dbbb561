import { pino, type Logger as PinoLogger, stdTimeFunctions } from "pino";

/** error = someone must act; warn = degraded but handled; info = lifecycle; debug = per message. */
export type LogLevel = "fatal" | "error" | "warn" | "info" | "debug" | "trace" | "silent";

/** Constant message, lower camel keys, ids only in the fields: `log.info({ orderId }, "order placed")`. */
export type Logger = PinoLogger;

/** What must never reach a log line, at the top of a record and one object down. */
const SECRET_KEYS = [
  "authorization",
  "cookie",
  "setCookie",
  "password",
  "passwordHash",
  "token",
  "accessToken",
  "refreshToken",
  "secret",
  "apiKey",
  "credentials",
  "card",
  "cardNumber",
  "cardToken",
  "pan",
  "cvc",
  "cvv",
  "iban",
  "email",
];

/** Paths of pino's redaction: header spellings included. */
export const REDACTED_PATHS: readonly string[] = [
  ...SECRET_KEYS.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
  '["set-cookie"]',
  '*["set-cookie"]',
  '*["x-api-key"]',
  "headers.Authorization",
  "headers.Cookie",
];

export interface LoggerOptions {
  /** Which process writes: `gateway`, `worker`, `all`. */
  readonly role: string;
  readonly level?: LogLevel;
  /** One readable line a record instead of JSON. Only honoured by a caller that knows it writes to a terminal. */
  readonly pretty?: boolean;
  /** Where lines go; standard output by default. Tests pass their own. */
  readonly write?: (line: string) => void;
}

/** JSON lines on standard output, or readable ones with `pretty`. Children carry `component`, `kind`, `log`. */
export function createLogger({ role, level = "info", pretty = false, write }: LoggerOptions): Logger {
  const options = {
    level,
    base: { role, pid: process.pid },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths: [...REDACTED_PATHS], censor: "[redacted]" },
  };
  const out = write ?? ((line: string) => void process.stdout.write(line));
  if (pretty) return pino(options, { write: (line: string) => out(readableLine(line)) });
  return write === undefined ? pino(options) : pino(options, { write });
}

/** A logger that writes nothing: for tests and for callers that need not listen. */
export const silentLogger: Logger = pino({ level: "silent" });

const HIDDEN_KEYS = new Set(["level", "time", "pid", "role", "msg", "err"]);

/** Never throws: a line that is no JSON comes back as it is. */
function readableLine(line: string): string {
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const time = String(record["time"]).slice(11, 23);
  const rest = Object.entries(record).filter(([key]) => !HIDDEN_KEYS.has(key));
  const fields = rest.map(
    ([key, value]) => ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  const err = record["err"] as { message?: string; stack?: string } | undefined;
  const cause = err === undefined ? "" : `\n  ${err.stack ?? err.message ?? JSON.stringify(err)}`;
  const level = String(record["level"]).padEnd(5);
  return `${time} ${level} ${JSON.stringify(record["msg"] ?? "").slice(1, -1)}${fields.join("")}${cause}\n`;
}
