import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** A nats-server version. `pre` is empty for a release. */
export interface ServerVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  readonly pre: string;
}

/** Oldest server with all we use: schedules cancelled inside a batch, consumer reset (JetStream API level 4). */
export const VERSION_MIN: ServerVersion = { major: 2, minor: 14, patch: 0, pre: "" };

const PROBE_TIMEOUT_MS = 10_000;
const run = promisify(execFile);

/** Finds the first `v2.15.1` or `2.15.1-RC.1` in a text such as the output of `nats-server --version`. */
export function parseVersion(text: string): ServerVersion | undefined {
  const match = /\bv?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:[-~]([0-9A-Za-z.-]+))?/.exec(text);
  if (match === null) return undefined;
  const [, major, minor, patch, pre = ""] = match;
  return { major: Number(major), minor: Number(minor), patch: Number(patch), pre };
}

/** Below zero when `a` is older. A pre-release is older than its release; two of them compare as text. */
export function compareVersions(a: ServerVersion, b: ServerVersion): number {
  const numbers = a.major - b.major || a.minor - b.minor || a.patch - b.patch;
  if (numbers !== 0 || a.pre === b.pre) return numbers;
  if (a.pre === "" || b.pre === "") return a.pre === "" ? 1 : -1;
  return a.pre < b.pre ? -1 : 1;
}

export function formatVersion({ major, minor, patch, pre }: ServerVersion): string {
  return `${major}.${minor}.${patch}${pre === "" ? "" : `-${pre}`}`;
}

/**
 * Runs `<path> --version` and returns the version.
 * @throws Error that says why the file is no usable nats-server: absent, not executable, too old.
 */
export async function probeServer(path: string): Promise<ServerVersion> {
  let output: string;
  try {
    output = (await run(path, ["--version"], { timeout: PROBE_TIMEOUT_MS, encoding: "utf8" })).stdout;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const why =
      code === "ENOENT" ? "is not there" : code === "EACCES" ? "is not executable" : `fails: ${message}`;
    throw new Error(`${path} ${why.split("\n", 1)[0] ?? why}`, { cause });
  }
  const version = /nats-server/i.test(output) ? parseVersion(output) : undefined;
  if (version === undefined)
    throw new Error(`${path} is no nats-server: --version printed ${JSON.stringify(output.slice(0, 80))}`);
  if (compareVersions(version, VERSION_MIN) >= 0) return version;
  throw new Error(
    `${path} is ${formatVersion(version)}, too old: needed is ${formatVersion(VERSION_MIN)} or newer`,
  );
}
