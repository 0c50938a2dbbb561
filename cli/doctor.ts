import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  createActorClient,
  createJetStreamBus,
  createTopology,
  storedTopology,
  type Topology,
} from "../actors/runtime/index.ts";
import { type Clock, sleep, systemClock } from "../platform/clock.ts";
import { silentLogger } from "../platform/log.ts";
import { serverTimeMs } from "../platform/nats-facts.ts";
import { readPorts } from "../platform/nats-server/ports.ts";
import { connectNats, type NatsConnection, type NatsCredentials } from "../platform/nats.ts";
import { systemRandom } from "../platform/random.ts";
import { type Finding, problem } from "./doctor/finding.ts";
import { checkGateway } from "./doctor/gateway.ts";
import {
  checkDisk,
  checkNode,
  checkPort,
  checkServerBinary,
  diskSpace,
  type DiskSpace,
} from "./doctor/machine.ts";
import {
  checkClock,
  checkJetStream,
  checkSync,
  checkVersion,
  findMonitor,
  type Monitor,
} from "./doctor/server.ts";
import { checkDeadLetters, checkStreams } from "./doctor/streams.ts";
import { checkBacklog, checkLeases, checkLogs } from "./doctor/work.ts";
import { ExitError } from "./exit-error.ts";
import type { Terminal } from "./terminal.ts";

/** What to look at. */
export interface DoctorOptions {
  readonly url: string;
  readonly natsUrl: string;
  readonly credentials?: NatsCredentials;
  /** Where the server's `/varz` is; found beside the server if it is not said. */
  readonly monitorUrl?: string | undefined;
  readonly dataDir: string;
  /** Port that `npm start` takes; undefined where no system of this folder is meant. */
  readonly port?: number | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The machine, as a test may replace it. */
export interface Machine {
  readonly clock: Clock;
  /** Of the Node that runs this. */
  readonly nodeVersion: string;
  readonly diskSpace: (folder: string) => DiskSpace | undefined;
}

const MACHINE: Machine = { clock: systemClock, nodeVersion: process.versions.node, diskSpace };
/** Owners speak five times a second. */
const LISTEN_MS = 1_200;
const MONITOR_PORT_USUAL = 8_222;

/**
 * Looks for what is wrong, prints it with the command that mends it, and changes nothing.
 * @throws ExitError 1 if there is a problem
 */
export async function doctor(terminal: Terminal, options: DoctorOptions, json: boolean): Promise<void> {
  const findings = await examine(options);
  const count = (level: Finding["level"]) => findings.filter((it) => it.level === level).length;
  const problems = count("problem");
  const warnings = count("warning");
  if (json) terminal.out(JSON.stringify({ problems, warnings, findings }));
  else for (const line of doctorLines(findings)) terminal.out(line);
  if (problems > 0) throw new ExitError(`${problems} problem(s), ${warnings} warning(s)`);
}

/** One line for each finding, and the command below what is not well. */
export function doctorLines(findings: readonly Finding[]): readonly string[] {
  const width = Math.max(...findings.map(({ check }) => check.length));
  return findings.flatMap(({ check, level, text, fix }) => {
    const line = `${level.padEnd(9)}${check.padEnd(width)}  ${text}`;
    return fix === "" ? [line] : [line, `${" ".repeat(9 + width)}  → ${fix}`];
  });
}

/** All checks, those of this machine first. What cannot be looked at is a problem of its own. */
export async function examine(
  options: DoctorOptions,
  machine: Machine = MACHINE,
): Promise<readonly Finding[]> {
  const gateway = await checkGateway(options.url);
  const local = await examineMachine(options, machine, gateway.isOurs);
  const nats = await examineNats(options, machine);
  return [...local, ...nats, gateway.finding];
}

async function examineMachine(
  { dataDir, port, env }: DoctorOptions,
  machine: Machine,
  isServed: boolean,
): Promise<readonly Finding[]> {
  const findings = [checkNode(machine.nodeVersion)];
  if (port === undefined) return findings;
  findings.push(await checkServerBinary(env));
  if (!isServed) findings.push(await checkPort(port));
  const space = machine.diskSpace(dataDir);
  if (space !== undefined) findings.push(checkDisk(dataDir, space));
  return findings;
}

async function examineNats(options: DoctorOptions, machine: Machine): Promise<readonly Finding[]> {
  const { natsUrl: servers, credentials } = options;
  let nc: NatsConnection;
  try {
    const name = "tradewind doctor";
    nc = await connectNats({
      servers,
      name,
      log: silentLogger,
      startAttemptsMax: 1,
      ...(credentials && { credentials }),
    });
  } catch (error) {
    const fix = "npm start (or start nats-server there, or name another with NATS_URL)";
    return [problem("nats", (error as Error).message, fix)];
  }
  try {
    return await examineServer(nc, options, machine);
  } finally {
    await nc.close();
  }
}

async function examineServer(
  nc: NatsConnection,
  options: DoctorOptions,
  machine: Machine,
): Promise<readonly Finding[]> {
  const monitor = await findMonitor(nc, monitorUrls(options));
  const jetStream = await checkJetStream(nc);
  const findings = [checkVersion(nc.info?.version ?? "unknown"), ...jetStream, checkSync(monitor)];
  const storeDir = monitor.facts?.storeDir ?? "";
  // The server's disk can be seen only where the server runs on this machine.
  if (storeDir !== "" && existsSync(storeDir) && options.port === undefined) {
    const space = machine.diskSpace(storeDir);
    if (space !== undefined) findings.push(checkDisk(storeDir, space));
  }
  if (jetStream.some(({ level }) => level === "problem")) return findings;
  try {
    const topology = (await storedTopology(nc)) ?? createTopology();
    return [...findings, ...(await examineSystem(nc, topology, monitor, machine.clock))];
  } catch (error) {
    const fix = "nats server report jetstream (a stream without a leader?), and try again";
    return [...findings, problem("nats", `NATS does not answer: ${(error as Error).message}`, fix)];
  }
}

function monitorUrls({ monitorUrl, dataDir, natsUrl }: DoctorOptions): readonly string[] {
  if (monitorUrl !== undefined) return [monitorUrl];
  const [first = ""] = natsUrl.split(",");
  const { hostname } = new URL(first.includes("://") ? first.trim() : `nats://${first.trim()}`);
  const usual = `http://${hostname}:${MONITOR_PORT_USUAL}`;
  const portsDir = join(dataDir, "nats", "run", "ports");
  const embedded = existsSync(portsDir) ? readPorts(portsDir)?.monitorUrl : undefined;
  return embedded === undefined ? [usual] : [embedded, usual];
}

/** Streams and what works on them. */
async function examineSystem(
  nc: NatsConnection,
  topology: Topology,
  monitor: Monitor,
  clock: Clock,
): Promise<readonly Finding[]> {
  const bus = createJetStreamBus({ nc, log: silentLogger });
  const client = createActorClient({
    bus,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    topology,
  });
  const heard = sleep(systemClock, LISTEN_MS);
  try {
    const { findings, present } = await checkStreams(nc, bus, topology);
    const { log, leases, dead, inbox, events } = topology.streams;
    const skewMs = await clockSkewMs(nc, present.has(log) ? log : undefined, monitor, clock);
    const found = [...findings, ...(skewMs === undefined ? [] : [checkClock(skewMs)])];
    if (!present.has(log)) return found;
    if (present.has(leases)) found.push(...(await checkLeases(nc, topology, clock.nowMs() + (skewMs ?? 0))));
    await heard;
    const loads = client.loads();
    if (present.has(inbox) && present.has(events)) found.push(...(await checkLogs(bus, topology, loads)));
    found.push(...checkBacklog(loads));
    if (present.has(dead)) found.push(await checkDeadLetters(bus, topology));
    return found;
  } finally {
    await client.close();
    bus.close();
  }
}

/** The server's clock less ours, to half a round trip; undefined if it cannot be seen. */
async function clockSkewMs(
  nc: NatsConnection,
  stream: string | undefined,
  { facts }: Monitor,
  clock: Clock,
): Promise<number | undefined> {
  if (stream === undefined) return facts === undefined ? undefined : facts.nowMs - clock.nowMs();
  const askedMs = clock.nowMs();
  const serverMs = await serverTimeMs(nc, stream);
  return serverMs === undefined ? undefined : serverMs - (askedMs + clock.nowMs()) / 2;
}
