import { existsSync, statfsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { isPortFree } from "../../platform/nats-server/ports.ts";
import { resolveNatsServer } from "../../platform/nats-server/index.ts";
import { compareVersions, formatVersion, parseVersion } from "../../platform/nats-server/version.ts";
import { bytesText, type Finding, ok, problem, warning } from "./finding.ts";

/** The `engines` of package.json. */
const NODE_MIN = { major: 24, minor: 12, patch: 0, pre: "" };

/** @param version such as `24.21.0` */
export function checkNode(version: string): Finding {
  const found = parseVersion(version);
  if (found !== undefined && compareVersions(found, NODE_MIN) >= 0) return ok("node", `Node ${version}`);
  const text = `Node is ${version}, needed is ${formatVersion(NODE_MIN)} or newer`;
  return problem("node", text, "npm ci (it brings the Node of this project), then npm run -s tradewind -- …");
}

/** Free and total bytes of a disk. */
export interface DiskSpace {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Of the disk that holds a folder, or will hold it; undefined if there is no such disk here. */
export function diskSpace(folder: string): DiskSpace | undefined {
  let path = resolve(folder);
  while (!existsSync(path) && dirname(path) !== path) path = dirname(path);
  try {
    const { bavail, blocks, bsize } = statfsSync(path);
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  } catch {
    return undefined;
  }
}

const FREE_SHARE_MIN = 0.05;
const FREE_SHARE_SOON = 0.15;
/** A large disk is not nearly full while it has as much. */
const FREE_BYTES_ENOUGH = 20 * 2 ** 30;

/** A full disk stops NATS until its server is restarted. */
export function checkDisk(folder: string, space: DiskSpace): Finding {
  const { freeBytes, totalBytes } = space;
  const share = freeBytes / totalBytes;
  const text = `${bytesText(freeBytes)} of ${bytesText(totalBytes)} are free for ${folder}`;
  if (share >= FREE_SHARE_SOON || freeBytes >= FREE_BYTES_ENOUGH) return ok("disk", text);
  const fix = `make room: du -xh ${folder} | sort -h | tail; then set max_file_store below the disk's size`;
  return share < FREE_SHARE_MIN ? problem("disk", `only ${text}`, fix) : warning("disk", `only ${text}`, fix);
}

/** The nats-server that `npm start` would take, without getting one. */
export async function checkServerBinary(env: Readonly<Record<string, string | undefined>>): Promise<Finding> {
  const unusable: string[] = [];
  const progress = (line: string) => void unusable.push(line.replace(/^nats-server: /, ""));
  const check = "nats-server";
  try {
    const { path, version } = await resolveNatsServer({ env: { ...env, TRADEWIND_OFFLINE: "1" }, progress });
    if (unusable.length === 0) return ok(check, `nats-server ${version} at ${path}`);
    const text = `${unusable.join("; ")}; npm start takes ${version} at ${path} instead`;
    return warning(check, text, `NATS_SERVER_BIN=${path} npm start (or remove the old one)`);
  } catch {
    const why = unusable.length === 0 ? "none is here" : unusable.join("; ");
    return warning(check, `npm start has no nats-server yet: ${why}`, "npm start (it obtains one)");
  }
}

/** The port that `npm start` needs, where nothing of ours answers on it. */
export async function checkPort(port: number): Promise<Finding> {
  if (port === 0 || (await isPortFree(port))) return ok("port", `port ${port} is free`);
  const text = `port ${port} is taken by another program`;
  return problem("port", text, `PORT=${port + 1} npm start (or look who it is: ss -ltnp 'sport = :${port}')`);
}
