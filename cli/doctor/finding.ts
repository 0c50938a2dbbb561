/** How bad it is: `problem` means that something does not work or is not safe, `warning` that it soon may not be. */
export type Level = "ok" | "warning" | "problem";

/** What one check has found. */
export interface Finding {
  /** Name of the check, the same in every run; one check may find several things. */
  readonly check: string;
  readonly level: Level;
  readonly text: string;
  /** The command, or the setting, that mends it; empty if there is nothing to mend. */
  readonly fix: string;
}

export function ok(check: string, text: string): Finding {
  return { check, level: "ok", text, fix: "" };
}

export function warning(check: string, text: string, fix: string): Finding {
  return { check, level: "warning", text, fix };
}

export function problem(check: string, text: string, fix: string): Finding {
  return { check, level: "problem", text, fix };
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** `1.5 GiB` */
export function bytesText(bytes: number): string {
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), UNITS.length - 1);
  const value = bytes / 1_024 ** power;
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${UNITS[power] ?? "B"}`;
}
