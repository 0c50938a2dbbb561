import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { parseVersion, compareVersions, formatVersion, VERSION_MIN } from "./version.ts";
import type { Way, WayContext } from "./ways.ts";

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const DEFAULT_MIRROR = "http://deb.debian.org/debian";
/** Names that stay right: whatever is testing today becomes stable later and then still has the version. */
const SUITES = ["testing", "unstable"];

const APT_TIMEOUT_MS = 3 * 60_000;
const OUTPUT_BYTES_MAX = 4 * 2 ** 20;
const run = promisify(execFile);

/**
 * Debian's package of a suite that has a new enough server, fetched through an apt directory of its own (signatures
 * checked, the system's package lists and packages untouched) and unpacked, never installed.
 */
export const debianWay: Way = { name: "Debian's package", obtain: obtainPackage };

async function obtainPackage(context: WayContext): Promise<string> {
  const { target, workDir, progress } = context;
  if (target.os !== "linux") throw new Error("only for Linux with apt");
  await run("apt-get", ["--version"]).catch((cause: unknown) => {
    throw new Error("apt-get is not on the PATH", { cause });
  });
  await readFile(KEYRING).catch((cause: unknown) => {
    throw new Error(
      `${KEYRING} is missing, which proves the packages: apt-get install debian-archive-keyring`,
      { cause },
    );
  });
  const mirror = await debianMirror();
  const reasons: string[] = [];
  for (const suite of SUITES) {
    try {
      progress(`nats-server: looking for Debian's package in ${suite} of ${mirror}`);
      return await fromSuite(workDir, mirror, suite, context);
    } catch (error) {
      reasons.push(`${suite}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(reasons.join("; "));
}

async function fromSuite(
  workDir: string,
  mirror: string,
  suite: string,
  context: WayContext,
): Promise<string> {
  const root = join(workDir, suite);
  const apt = await privateApt(root, `deb [signed-by=${KEYRING}] ${mirror} ${suite} main\n`, context.env);
  await apt("apt-get", ["update"]);
  const { stdout: policy } = await apt("apt-cache", ["policy", "nats-server"]);
  const version = parseVersion(/Candidate:\s*([^\s-]+)/.exec(policy)?.[1] ?? "");
  if (version === undefined) throw new Error("has no nats-server");
  if (compareVersions(version, VERSION_MIN) < 0)
    throw new Error(`has only nats-server ${formatVersion(version)}`);
  context.progress(`nats-server: fetching Debian's package of ${formatVersion(version)}`);
  await apt("apt-get", ["download", "nats-server"]);
  const packageFile = (await readdir(root)).find((name) => name.endsWith(".deb"));
  if (packageFile === undefined) throw new Error("apt-get download left no package");
  const unpacked = join(root, "unpacked");
  await run("dpkg", ["-x", join(root, packageFile), unpacked]);
  return join(unpacked, "usr", "sbin", "nats-server");
}

type RunApt = (command: string, args: readonly string[]) => Promise<{ stdout: string }>;

/** An apt that reads and writes only below `root`, but keeps the proxy settings of the system. */
async function privateApt(root: string, sources: string, env: WayContext["env"]): Promise<RunApt> {
  for (const dir of ["lists/partial", "archives/partial", "empty"])
    await mkdir(join(root, dir), { recursive: true });
  await writeFile(join(root, "sources.list"), sources);
  await writeFile(join(root, "status"), "");
  const settings = {
    "Dir::Etc::SourceList": join(root, "sources.list"),
    "Dir::Etc::SourceParts": join(root, "empty"),
    "Dir::Etc::Preferences": join(root, "empty", "none"),
    "Dir::Etc::PreferencesParts": join(root, "empty"),
    "Dir::State::Lists": join(root, "lists"),
    "Dir::State::status": join(root, "status"),
    "Dir::Cache": root,
    "Dir::Cache::Archives": join(root, "archives"),
    "Debug::NoLocking": "true",
    "APT::Sandbox::User": "", // the directory is ours: the user of apt's sandbox could not write to it
    "Acquire::Languages": "none",
    "Acquire::Retries": "1",
    "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
  return async (command, args) => {
    try {
      return await run(command, [...options, "-q", ...args], {
        cwd: root,
        env: { ...env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
        timeout: APT_TIMEOUT_MS,
        maxBuffer: OUTPUT_BYTES_MAX,
      });
    } catch (cause) {
      const { stderr = "", message } = cause as Error & { stderr?: string };
      const line = stderr.split("\n").find((text) => text.startsWith("E:") || text.startsWith("W:"));
      throw new Error(line?.trim() ?? message.split("\n", 1)[0] ?? message, { cause });
    }
  };
}

/** The archive this machine already uses, so that local mirrors keep working; else the official one. */
async function debianMirror(): Promise<string> {
  const texts: string[] = [];
  for (const path of ["/etc/apt/sources.list", ...(await sourceFiles())]) {
    texts.push(await readFile(path, "utf8").catch(() => ""));
  }
  const uris = [...texts.join("\n").matchAll(/^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(https?:\/\/\S+)/gm)];
  return uris.map((match) => match[1] ?? "").find((uri) => /\/debian\/?$/.test(uri)) ?? DEFAULT_MIRROR;
}

async function sourceFiles(): Promise<string[]> {
  const dir = "/etc/apt/sources.list.d";
  const names = await readdir(dir).catch(() => [] as string[]);
  return names.filter((name) => /\.(list|sources)$/.test(name)).map((name) => join(dir, name));
}
