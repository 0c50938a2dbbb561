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

/** A planted bug. */
export function planted(rule: string, name: string, file: string, find: string, replace: string): Plant {
  return { name, rule, file, find, replace };
}
