import { InvalidArgumentError } from "commander";

/** Parser of a whole number within bounds, for `option(…, parse)`. */
export function integer(min: number, max = 1_000_000_000): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d{1,12}$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`give a whole number from ${min} to ${max}`);
  };
}

/** Parser of a number within bounds. */
export function decimal(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`give a number from ${min} to ${max}`);
  };
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const DURATION_MS_MAX = 86_400_000;
const DAYS_MAX = 3_650;

/** `250ms`, `10s`, `2m`, `1h`, or a bare number of seconds; in milliseconds, above 0 and at most a day. */
export function duration(text: string): number {
  const [, number, unit = "s"] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  const value = Number(number) * (UNITS_MS[unit] ?? Number.NaN);
  if (value > 0 && value <= DURATION_MS_MAX) return value;
  throw new InvalidArgumentError("give a duration like 500ms, 10s or 2m");
}

/** `45d` or `45`; at least so many. */
export function days(min: number): (text: string) => number {
  const count = integer(min, DAYS_MAX);
  return (text) => count(text.replace(/d$/, ""));
}

/** `5%` or `0.05`; as a share from 0 to 1. */
export function share(text: string): number {
  const [, number, percent] = /^(\d+(?:\.\d+)?)(%)?$/.exec(text) ?? [];
  const value = Number(number) / (percent === undefined ? 1 : 100);
  if (value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError("give a share like 5% or 0.05");
}

/** `3` or `1..3`; both bounds belong to it. */
export function range(
  min: number,
  max: number,
): (text: string) => { readonly min: number; readonly max: number } {
  return (text) => {
    const [, low = "", high = low] = /^(\d{1,9})(?:(?:\.\.|-)(\d{1,9}))?$/.exec(text) ?? [];
    const found = { min: Number(low), max: Number(high) };
    if (low !== "" && found.min >= min && found.max <= max && found.min <= found.max) return found;
    throw new InvalidArgumentError(`give a number or a range within ${min}..${max}, like ${min}..${max}`);
  };
}

/** `1,64,256`; each within bounds. */
export function integers(min: number, max: number): (text: string) => readonly number[] {
  const one = integer(min, max);
  return (text) => text.split(",").map((part) => one(part.trim()));
}

/**
 * Base URL of a gateway; whatever path stands behind it is dropped (`http://localhost:8080/orders` is
 * understood).
 */
export function baseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return url.origin;
  throw new InvalidArgumentError("give the gateway's URL, like http://localhost:8080");
}
