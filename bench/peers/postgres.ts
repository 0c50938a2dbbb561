import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type GuardedExit, startGuarded } from "../../platform/nats-server/guard.ts";
import { freePorts } from "../../platform/nats-server/ports.ts";

/** Where Debian puts the programs, by version, and where others do. */
const DEBIAN = "/usr/lib/postgresql";
const PLACES = ["/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"];
const START_MS_MAX = 30_000;
const POLL_MS = 20;
/** Owns the database, and runs the server where root may not: the user that the packages make. */
const USER = "postgres";
/** As their owner would give them to a small machine. */
const SETTINGS = ["shared_buffers=512MB", "max_wal_size=8GB", "checkpoint_timeout=15min", "jit=off"];

/** The folder of initdb and postgres, of the newest version; undefined if there is none. */
export function findPostgres(): string | undefined {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).toSorted((a, b) => Number(b) - Number(a)) : [];
  const places = [...versions.map((version) => join(DEBIAN, version, "bin")), ...PLACES];
  return places.find((place) => ["initdb", "postgres"].every((name) => existsSync(join(place, name))));
}

/**
 * Starts a PostgreSQL on data of its own and a free port of loopback; everything goes with `stop`, or with this process
 * however it ends.
 * @param isSynced a commit survives a power cut; else only kill -9
 */
export async function startPostgres(bin: string, isSynced: boolean) {
  const isRoot = process.getuid?.() === 0;
  const asUser = isRoot ? ["setpriv", `--reuid=${USER}`, `--regid=${USER}`, "--init-groups"] : [];
  const run = (...words: string[]) =>
    execFileSync(words[0] ?? "", words.slice(1), { cwd: "/", encoding: "utf8" });
  const dataDir = run(...asUser, "mktemp", "-d", join(tmpdir(), "tradewind-postgres-XXXXXX")).trim();
  const init = ["-D", dataDir, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"];
  run(...asUser, join(bin, "initdb"), ...init);
  const [port] = await freePorts(1, Math.random);
  const address = ["listen_addresses=127.0.0.1", `port=${port}`, "unix_socket_directories="];
  const settings = [...address, `fsync=${isSynced ? "on" : "off"}`, "synchronous_commit=on", ...SETTINGS];
  const given = settings.flatMap((setting) => ["-c", setting]);
  const [command = "", ...args] = [...asUser, join(bin, "postgres"), "-D", dataDir, ...given];
  const server = await startGuarded({ command, args, removeAfter: [dataDir] });
  let exit: GuardedExit | undefined;
  void server.exited.then((seen) => (exit = seen));
  const stop = async () => {
    server.signal("SIGINT"); // without waiting for those who are connected
    while (exit === undefined) await setTimeout(POLL_MS);
    rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 });
  };
  for (const giveUpMs = Date.now() + START_MS_MAX; !isReady(dataDir); await setTimeout(POLL_MS)) {
    if (exit === undefined && Date.now() < giveUpMs) continue;
    await stop();
    throw new Error(`PostgreSQL did not start: ${exit?.stderr}`);
  }
  const [, , version = ""] = run(join(bin, "postgres"), "--version").split(" ");
  return { url: `postgres://${USER}@127.0.0.1:${port}/postgres`, version, pid: server.pid, stop };
}

/** Its pid file says so, as pg_ctl reads it. */
function isReady(dataDir: string): boolean {
  const file = join(dataDir, "postmaster.pid");
  return existsSync(file) && /^ready\s*$/m.test(readFileSync(file, "utf8"));
}
