import { API_LEVEL_MIN, type NatsConnection } from "../../platform/nats.ts";
import { accountFacts, type MonitorFacts, monitorFacts } from "../../platform/nats-facts.ts";
import {
  compareVersions,
  formatVersion,
  parseVersion,
  VERSION_MIN,
} from "../../platform/nats-server/version.ts";
import { bytesText, type Finding, ok, problem, warning } from "./finding.ts";

/** The oldest with the repairs of 2026 that matter to us: security, and storage after a failed write. */
const VERSION_GOOD = { major: 2, minor: 14, patch: 7, pre: "" };
const UPGRADE = "upgrade nats-server to 2.15.1 or newer, one server at a time, and restart it";

/** Of the server that we are connected to. */
export function checkVersion(version: string): Finding {
  const found = parseVersion(version);
  const is = `nats-server is ${version}`;
  if (found === undefined || compareVersions(found, VERSION_MIN) < 0) {
    return problem("nats version", `${is}, needed is ${formatVersion(VERSION_MIN)} or newer`, UPGRADE);
  }
  if (compareVersions(found, VERSION_GOOD) >= 0) return ok("nats version", is);
  return warning("nats version", `${is}: fixes of ${formatVersion(VERSION_GOOD)} are missing`, UPGRADE);
}

const JETSTREAM_ON =
  'add `jetstream { store_dir: "/data", sync_interval: always }` to nats-server.conf and restart it; ' +
  "with accounts, `jetstream: enabled` in the account";

const FULL_SHARE = 0.8;
const FULL_SOON_SHARE = 0.6;

/** JetStream is on for this account, new enough, and has room. */
export async function checkJetStream(nc: NatsConnection): Promise<readonly Finding[]> {
  let facts;
  try {
    facts = await accountFacts(nc);
  } catch (error) {
    const why = (error as Error).message;
    return [
      problem("jetstream", `JetStream is off for this account, or does not answer: ${why}`, JETSTREAM_ON),
    ];
  }
  const { apiLevel, storageBytes, storageBytesMax } = facts;
  const level =
    apiLevel < API_LEVEL_MIN
      ? problem("jetstream", `JetStream API level is ${apiLevel}, needed is ${API_LEVEL_MIN}`, UPGRADE)
      : ok("jetstream", `JetStream is on, API level ${apiLevel}`);
  if (storageBytesMax === Infinity) return [level];
  return [level, checkRoom("storage", "the account", storageBytes, storageBytesMax)];
}

/** Bytes against their limit: commands are refused above 80 %. */
export function checkRoom(check: string, what: string, bytes: number, bytesMax: number): Finding {
  const share = bytes / bytesMax;
  const text = `${what} holds ${bytesText(bytes)} of ${bytesText(bytesMax)} (${Math.floor(share * 100)} %)`;
  if (share < FULL_SOON_SHARE) return ok(check, text);
  const fix =
    "give it more: max_file_store of the server, max_storage of the account, STORE_BYTES_MAX of the workers; " +
    "then restart the workers";
  if (share < FULL_SHARE) return warning(check, text, fix);
  return problem(check, `${text}: commands are refused above ${FULL_SHARE * 100} %`, fix);
}

/** The monitoring port of the server that we are connected to. */
export interface Monitor {
  readonly facts: MonitorFacts | undefined;
  /** Why there are no facts. */
  readonly why: string;
}

/** Asks each URL in turn; another server's monitoring port says nothing about ours. */
export async function findMonitor(nc: NatsConnection, urls: readonly string[]): Promise<Monitor> {
  const tried: string[] = [];
  for (const url of urls) {
    try {
      const facts = await monitorFacts(url);
      const isOurs = facts.serverId === nc.info?.server_id;
      const isNear = facts.clusterName !== "" && facts.clusterName === nc.info?.cluster;
      if (isOurs || isNear) return { facts, why: "" };
      tried.push(`${url} is another server's`);
    } catch (error) {
      tried.push(`${url} does not answer (${(error as Error).message})`);
    }
  }
  return { facts: undefined, why: tried.join(", ") || "no address of it is known" };
}

const SYNC_FIX =
  "set `sync_interval: always` in the jetstream block of nats-server.conf and restart it " +
  "(npm start: NATS_SYNC_INTERVAL=always)";

/** With any other setting a power cut takes what was acked last; soon after a start it can take whole streams. */
export function checkSync({ facts, why }: Monitor): Finding {
  if (facts === undefined) {
    const fix = "tradewind doctor --monitor http://<nats host>:8222";
    return warning("sync", `whether NATS syncs every write cannot be seen: ${why}`, fix);
  }
  if (facts.syncAlways) return ok("sync", "every ack is on disk (sync_interval: always)");
  return problem(
    "sync",
    "acks are not on disk: sync_interval is not always, a power cut loses them",
    SYNC_FIX,
  );
}

const SKEW_MS_MAX = 500;
const SKEW_MS_BAD = 5_000;

/** @param skewMs the server's clock less this machine's; timers and deadlines compare the two */
export function checkClock(skewMs: number): Finding {
  const text = `the clock of NATS is ${Math.abs(Math.round(skewMs))} ms ${skewMs < 0 ? "behind" : "ahead"}`;
  if (Math.abs(skewMs) <= SKEW_MS_MAX) return ok("clock", text);
  const fix = "timedatectl set-ntp true (or chronyc makestep), here and on the servers";
  return Math.abs(skewMs) < SKEW_MS_BAD ? warning("clock", text, fix) : problem("clock", text, fix);
}
