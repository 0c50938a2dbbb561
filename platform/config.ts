import { readFileSync } from "node:fs";
import { z } from "zod";

interface SettingBase {
  /** Name of the environment variable. */
  readonly env: string;
  /** One line for the README table: no line break, no `|`. */
  readonly description: string;
  /** Never printed. May also be given as a file: `<env>_FILE=/run/secrets/x`. */
  readonly secret?: boolean;
}

interface Defaulted<T> {
  /** Value when the variable is unset or empty. Without it the setting is required, unless `optional`. */
  readonly default?: T;
  /** Unset reads as undefined. */
  readonly optional?: true;
}

interface Bounded {
  readonly min?: number;
  readonly max?: number;
}

export interface TextSetting extends SettingBase, Defaulted<string> {
  readonly type: "text";
  readonly lengthMax?: number;
  readonly pattern?: RegExp;
}

/** An absolute URL of one of `protocols` (default: any). Credentials in it are never printed. */
export interface UrlSetting extends SettingBase, Defaulted<string> {
  readonly type: "url";
  readonly protocols?: readonly string[];
}

export interface IntegerSetting extends SettingBase, Defaulted<number>, Bounded {
  readonly type: "integer";
}

/** `250ms`, `5s`, `2m`, `1h`, `1.5s`, or a bare number of milliseconds. Bounds and default in milliseconds. */
export interface DurationSetting extends SettingBase, Defaulted<number>, Bounded {
  readonly type: "durationMs";
}

/** `64MiB`, `10GB`, `512KiB` or a bare number of bytes. Bounds and default in bytes. */
export interface BytesSetting extends SettingBase, Defaulted<number>, Bounded {
  readonly type: "bytes";
}

/** `true`, `1`, `yes`, `on` or `false`, `0`, `no`, `off`. */
export interface BooleanSetting extends SettingBase, Defaulted<boolean> {
  readonly type: "boolean";
}

export interface ChoiceSetting extends SettingBase, Defaulted<string> {
  readonly type: "choice";
  readonly choices: readonly string[];
}

export type Setting =
  | TextSetting
  | UrlSetting
  | IntegerSetting
  | DurationSetting
  | BytesSetting
  | BooleanSetting
  | ChoiceSetting;

export type ConfigDefinition = Readonly<Record<string, Setting>>;

type ValueOf<S extends Setting> = S extends { choices: readonly (infer C)[] }
  ? C
  : S extends { type: "boolean" }
    ? boolean
    : S extends { type: "integer" | "durationMs" | "bytes" }
      ? number
      : string;

/** The value type of a definition: optional settings may be undefined. */
export type ConfigOf<D extends ConfigDefinition> = {
  readonly [K in keyof D]: ValueOf<D[K]> | (D[K] extends { optional: true } ? undefined : never);
};

/** Names every bad setting of one start. `exitCode` is EX_CONFIG of sysexits. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly exitCode = 78;
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `the configuration has ${problems.length} problem(s):\n${problems.map((line) => `  - ${line}`).join("\n")}`,
    );
    this.problems = problems;
  }
}

/** Declares settings, for `readConfig`, `describeConfig` and `printConfig`. Definitions may be spread into one. */
export function defineConfig<const D extends ConfigDefinition>(definition: D): D {
  const envs = Object.values(definition).map((setting) => setting.env);
  const repeated = envs.find((env, index) => envs.indexOf(env) !== index);
  if (repeated !== undefined)
    throw new Error(`two settings read the variable ${repeated}: give one another name`);
  return Object.freeze(definition);
}

/**
 * Reads every setting from the injected environment. An empty variable counts as unset. The result is frozen.
 * @throws ConfigError naming all problems at once; values of secrets are not in it.
 */
export function readConfig<D extends ConfigDefinition>(
  definition: D,
  env: Readonly<Record<string, string | undefined>>,
): ConfigOf<D> {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(definition)) {
    try {
      values[key] = readSetting(setting, env);
    } catch (error) {
      problems.push(`${setting.env}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(values) as ConfigOf<D>;
}

function readSetting(setting: Setting, env: Readonly<Record<string, string | undefined>>): unknown {
  const text = rawText(setting, env);
  if (text === "") {
    if (setting.default !== undefined) return setting.default;
    if (setting.optional === true) return undefined;
    throw new Error(`is required: ${setting.description}`);
  }
  const result = schemaOf(setting).safeParse(text);
  if (result.success) return result.data;
  const why = result.error.issues.map((issue) => issue.message).join("; ");
  throw new Error(setting.secret === true ? why : `${why}, got ${JSON.stringify(hideCredentials(text))}`);
}

function rawText(setting: Setting, env: Readonly<Record<string, string | undefined>>): string {
  const direct = env[setting.env]?.trim() ?? "";
  const path = setting.secret === true ? (env[`${setting.env}_FILE`]?.trim() ?? "") : "";
  if (path === "") return direct;
  if (direct !== "") throw new Error(`is set twice, here and as ${setting.env}_FILE: keep the file`);
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new Error(`${setting.env}_FILE cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

const TEXT_LENGTH_MAX = 4_096;
const TRUE_WORDS = ["true", "1", "yes", "on"];
const FALSE_WORDS = ["false", "0", "no", "off"];
const DURATION_UNITS_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const BYTE_UNITS: Record<string, number> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

function schemaOf(setting: Setting): z.ZodType<unknown, string> {
  switch (setting.type) {
    case "text": {
      const { lengthMax = TEXT_LENGTH_MAX, pattern } = setting;
      const text = z.string().max(lengthMax, `must have at most ${lengthMax} characters`);
      return pattern === undefined ? text : text.regex(pattern, `must match ${pattern.source}`);
    }
    case "url":
      return z
        .string()
        .refine((text) => isUrl(text, setting.protocols), `must be ${urlForm(setting.protocols)}`);
    case "integer":
      return bounded(
        measured("must be a whole number", (text) => (/^-?\d{1,15}$/.test(text) ? Number(text) : null)),
        setting,
      );
    case "durationMs":
      return bounded(measured("must be a duration like 250ms, 5s or 2m", parseDurationMs), setting);
    case "bytes":
      return bounded(measured("must be a size like 64MiB or 1048576", parseBytes), setting);
    case "boolean":
      return z
        .string()
        .refine(
          (text) => [...TRUE_WORDS, ...FALSE_WORDS].includes(text.toLowerCase()),
          "must be true or false",
        )
        .transform((text) => TRUE_WORDS.includes(text.toLowerCase()));
    case "choice":
      return z
        .string()
        .refine((text) => setting.choices.includes(text), `must be one of ${setting.choices.join(", ")}`);
  }
}

function measured(message: string, parse: (text: string) => number | null): z.ZodType<number, string> {
  return z.string().transform((text, context) => {
    const value = parse(text);
    if (value !== null && Number.isSafeInteger(value)) return value;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  });
}

function bounded(schema: z.ZodType<number, string>, setting: Setting & Bounded): z.ZodType<number, string> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = setting;
  const form = (value: number) => formatValue(setting, value);
  return schema
    .refine((value) => value >= min, `must be at least ${form(min)}`)
    .refine((value) => value <= max, `must be at most ${form(max)}`);
}

function parseDurationMs(text: string): number | null {
  return parseUnits(text, /^(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)?$/, DURATION_UNITS_MS, "ms");
}

function parseBytes(text: string): number | null {
  return parseUnits(text.toLowerCase(), /^(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]i?b|b)?$/, BYTE_UNITS, "b");
}

function parseUnits(
  text: string,
  form: RegExp,
  units: Record<string, number>,
  fallback: string,
): number | null {
  const match = form.exec(text);
  const unit = units[match?.[2] ?? fallback];
  return match === null || unit === undefined ? null : Math.round(Number(match[1]) * unit);
}

function isUrl(text: string, protocols: readonly string[] | undefined): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url !== undefined && (protocols === undefined || protocols.includes(url.protocol.replace(/:$/, "")));
}

function urlForm(protocols: readonly string[] | undefined): string {
  return protocols === undefined ? "an absolute URL" : `a URL with ${protocols.join(" or ")}`;
}

/** One line of the settings table of the docs. */
export interface ConfigRow {
  readonly env: string;
  readonly type: string;
  readonly default: string;
  readonly bounds: string;
  readonly description: string;
}

/** Rows in the order of the definition. Secrets show no default. */
export function describeConfig(definition: ConfigDefinition): ConfigRow[] {
  return Object.values(definition).map((setting) => ({
    env: setting.env,
    type: setting.type === "durationMs" ? "duration" : setting.type,
    default: describeDefault(setting),
    bounds: describeBounds(setting),
    description:
      setting.secret === true ? `${setting.description} (or ${setting.env}_FILE)` : setting.description,
  }));
}

/** The same rows as a Markdown table, which a test compares with the README. */
export function configTable(definition: ConfigDefinition): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rows = describeConfig(definition).map((row) =>
    line([
      `\`${row.env}\``,
      row.type,
      row.default === "" ? "" : `\`${row.default}\``,
      row.bounds,
      row.description,
    ]),
  );
  return [
    line(["Variable", "Type", "Default", "Bounds", "Meaning"]),
    line(["---", "---", "---", "---", "---"]),
    ...rows,
  ].join("\n");
}

/** Lines `NAME=value` for `--print-config`: secrets and credentials inside URLs are masked. */
export function printConfig<D extends ConfigDefinition>(definition: D, config: ConfigOf<D>): string {
  return Object.entries(definition)
    .map(([key, setting]) => {
      const value = (config as Record<string, unknown>)[key];
      const masked = setting.secret === true ? "[redacted]" : formatValue(setting, value);
      return `${setting.env}=${value === undefined ? "" : masked}`;
    })
    .join("\n");
}

function describeDefault(setting: Setting): string {
  if (setting.secret === true) return "";
  if (setting.default === undefined) return setting.optional === true ? "" : "required";
  return formatValue(setting, setting.default);
}

function describeBounds(setting: Setting): string {
  if (setting.type === "choice") return setting.choices.join(", ");
  if (setting.type !== "integer" && setting.type !== "durationMs" && setting.type !== "bytes") return "";
  const { min = 0, max } = setting;
  return max === undefined
    ? `≥ ${formatValue(setting, min)}`
    : `${formatValue(setting, min)} – ${formatValue(setting, max)}`;
}

function formatValue(setting: Setting, value: unknown): string {
  if (typeof value !== "number") return hideCredentials(String(value));
  if (setting.type === "durationMs") return withUnit(value, DURATION_UNITS_MS, ["d", "h", "m", "s"], "ms");
  if (setting.type === "bytes")
    return withUnit(
      value,
      { TiB: 2 ** 40, GiB: 2 ** 30, MiB: 2 ** 20, KiB: 2 ** 10 },
      ["TiB", "GiB", "MiB", "KiB"],
      "",
    );
  return String(value);
}

function withUnit(
  value: number,
  units: Record<string, number>,
  names: readonly string[],
  fallback: string,
): string {
  const name = names.find((unit) => value >= (units[unit] ?? Infinity) && value % (units[unit] ?? 1) === 0);
  return name === undefined ? `${value}${fallback}` : `${value / (units[name] ?? 1)}${name}`;
}

function hideCredentials(text: string): string {
  return text.replace(/(\w+:\/\/)[^/@\s,]+@/g, "$1[redacted]@");
}
