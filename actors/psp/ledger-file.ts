import { appendFileSync, closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { z } from "zod";
import type { LedgerEntry } from "../shared/payment-simulator.ts";

const entrySchema = z.object({
  operation: z.enum(["authorize", "capture", "void", "refund"]),
  key: z.string(),
  authorizationKey: z.string(),
  amount: z.string(),
  currency: z.string(),
  methodToken: z.string(),
  status: z.enum(["approved", "declined"]),
  ref: z.string(),
  code: z.string(),
  text: z.string(),
  atMs: z.number(),
  expiresMs: z.number(),
});

/** Operations in a file, one JSON line each, written before they are answered: they survive kill -9 of the process. */
export interface LedgerFile {
  readonly entries: readonly LedgerEntry[];
  append(entry: LedgerEntry): void;
  close(): void;
}

/** Opens or creates the file. A line that was cut off had no answer yet and does not count. */
export function openLedgerFile(path: string): LedgerFile {
  const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n") : [];
  const file = openSync(path, "a");
  if ((lines.at(-1) ?? "") !== "") appendFileSync(file, "\n");
  return {
    entries: lines.filter((line) => line.endsWith("}")).map((line) => entrySchema.parse(JSON.parse(line))),
    append: (entry) => appendFileSync(file, `${JSON.stringify(entry)}\n`),
    close: () => closeSync(file),
  };
}
