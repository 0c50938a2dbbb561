import { durationFromMs, durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { archiveOrders, ORDER_RETENTION_MS_MIN } from "../actors/archivist/archivist.ts";
import type { Check } from "../actors/reconcile/findings.ts";
import {
  type ActorClient,
  type Bus,
  CallError,
  type DeadLetterInfo,
  type Topology,
} from "../actors/runtime/index.ts";
import type { Health } from "../platform/health.ts";
import {
  type ArchiveOrdersRequest,
  DeadLetterState,
  type ListDeadLettersRequest,
  ListDeadLettersRequestSchema,
  type OpsService,
  ReconcileVerdict,
} from "../proto/gen/tradewind/ops/v1/ops_service_pb.ts";
import { scopeOf } from "./call-scope.ts";
import { edgeError, notFound } from "./connect-errors.ts";
import { deadLetterView, deadLetterWithPayload } from "./dead-letters.ts";
import { decodePageToken, encodePageToken, pageSizeOf } from "./page-token.ts";
import { reconcileTenant } from "./reconcile-books.ts";
import type { ServiceDeps } from "./service-deps.ts";

/** What the operator's view needs besides the actors. */
export interface OpsDeps {
  readonly bus: Bus;
  readonly topology: Topology;
  readonly health: Health;
  readonly nats: NatsProbe;
  readonly build: { readonly version: string; readonly runtime: string; readonly startedMs: number };
}

/** Facts of the NATS connection. */
export interface NatsProbe {
  /** Rejects when there is no answer. */
  facts(): Promise<{
    readonly serverName: string;
    readonly serverVersion: string;
    readonly roundTripMs: number;
  }>;
}

const RECONCILE_MS_DEFAULT = 5_000;
const ARCHIVE_MS_DEFAULT = 10_000;
const LETTERS_SCANNED_MAX = 1_000;
/** Tenant in the subject of a dead letter that names none. */
const NOBODY = "none";

const VERDICTS = {
  clean: ReconcileVerdict.CLEAN,
  settling: ReconcileVerdict.SETTLING,
  different: ReconcileVerdict.DIFFERENT,
} as const satisfies Record<Check["verdict"], ReconcileVerdict>;

/** For those who run the system. Dead letters are those of the caller's tenant, and those of nobody. */
export function opsService(deps: ServiceDeps, ops: OpsDeps): ServiceImpl<typeof OpsService> {
  const { client, clock } = deps;
  const letterOf = async (id: string, context: HandlerContext) => {
    const letter = await client.getDeadLetter(id);
    if (letter === undefined || !mayRead(letter, scopeOf(context).tenant)) throw notFound("dead letter", id);
    return letter;
  };
  return {
    getSystemStatus: () => systemStatus(deps, ops),
    listDeadLetters: (request, context) => listDeadLetters(deps, request, context),
    getDeadLetter: async ({ deadLetterId }, context) => ({
      deadLetter: deadLetterWithPayload(await letterOf(deadLetterId, context)),
    }),
    redriveDeadLetter: async ({ deadLetterId }, context) => {
      const letter = await letterOf(deadLetterId, context);
      if (!(await redrive(client, deadLetterId))) throw notFound("dead letter", deadLetterId);
      return { deadLetter: deadLetterView(letter, DeadLetterState.REDRIVEN) };
    },
    discardDeadLetter: async ({ deadLetterId }, context) => {
      const letter = await letterOf(deadLetterId, context);
      if (!(await client.discardDeadLetter(deadLetterId))) throw notFound("dead letter", deadLetterId);
      return { deadLetter: deadLetterView(letter, DeadLetterState.DISCARDED) };
    },
    reconcile: async ({ timeout }, context) => {
      const timeoutMs = (timeout === undefined ? 0 : durationMs(timeout)) || RECONCILE_MS_DEFAULT;
      const report = await reconcileTenant(deps, scopeOf(context).tenant, timeoutMs, context.signal);
      const checks = report.checks.map((check) => ({
        ...check,
        samples: [...check.samples],
        verdict: VERDICTS[check.verdict],
      }));
      return {
        verdict: checks.reduce<ReconcileVerdict>(
          (worst, { verdict }) => (verdict > worst ? verdict : worst),
          VERDICTS.clean,
        ),
        checks,
        orders: BigInt(report.orders),
        ordersArchived: report.ordersArchived,
        ordersOpen: BigInt(report.ordersOpen),
        asOf: timestampFromMs(clock.nowMs()),
      };
    },
    archiveOrders: (request, context) => archiveNow(deps, ops, request, context),
  };
}

async function archiveNow(
  { client, clock, random }: ServiceDeps,
  { topology }: OpsDeps,
  { olderThan, timeout }: ArchiveOrdersRequest,
  context: HandlerContext,
) {
  const ageMs = olderThan === undefined ? ORDER_RETENTION_MS_MIN : durationMs(olderThan);
  const timeoutMs = (timeout === undefined ? 0 : durationMs(timeout)) || ARCHIVE_MS_DEFAULT;
  const end = new AbortController();
  const timer = clock.setTimer(() => end.abort(), timeoutMs);
  const signal = AbortSignal.any([end.signal, context.signal]);
  try {
    const deps = { client, clock, random, topology };
    const run = await archiveOrders(deps, scopeOf(context).tenant, { ageMs, restMs: 0, signal });
    return { archived: BigInt(run.archived), kept: BigInt(run.kept), complete: run.isComplete };
  } finally {
    timer.cancel();
  }
}

/** What cannot even be told whose it is, whoever runs the system has to see. */
function mayRead({ tenant: owner }: DeadLetterInfo, tenant: string): boolean {
  return owner === tenant || owner === NOBODY;
}

/** @throws ConnectError INVALID_TRANSITION for bytes that are no message: they can only be discarded */
async function redrive(client: ActorClient, id: string): Promise<boolean> {
  try {
    return await client.redriveDeadLetter(id);
  } catch (error) {
    if (!(error instanceof CallError) || error.kind !== "defect") throw error;
    throw edgeError("INVALID_TRANSITION", error.message, { metadata: { from: "OPEN", to: "REDRIVEN" } });
  }
}

async function listDeadLetters(
  { client }: ServiceDeps,
  request: ListDeadLettersRequest,
  context: HandlerContext,
) {
  const { tenant } = scopeOf(context);
  const pageSize = pageSizeOf(request);
  const after = decodePageToken(ListDeadLettersRequestSchema, request)?.createdMs ?? 0;
  const letters = await client.listDeadLetters(undefined, LETTERS_SCANNED_MAX, after);
  const matching = letters.filter(
    (letter) => mayRead(letter, tenant) && (request.kind === "" || letter.kind === request.kind),
  );
  const page = matching.slice(0, pageSize);
  const isCut = matching.length > page.length || letters.length === LETTERS_SCANNED_MAX;
  const last = matching.length > page.length ? page.at(-1) : letters.at(-1);
  const next = isCut && last !== undefined ? { createdMs: last.sequence, id: "" } : undefined;
  return {
    deadLetters: page.map((letter) => deadLetterView(letter)),
    nextPageToken: encodePageToken(ListDeadLettersRequestSchema, request, next),
  };
}

async function systemStatus({ client, clock }: ServiceDeps, { bus, topology, health, nats, build }: OpsDeps) {
  const loads = client.loads();
  const names = Object.values(topology.streams);
  const [facts, ...streams] = await Promise.all([
    nats.facts().catch(() => undefined),
    ...names.map((name) => bus.status(name).catch(() => undefined)),
  ]);
  const problems = [
    ...Object.entries(health.components()).flatMap(([name, { ok, reason }]) =>
      ok ? [] : [`${name}: ${reason}`],
    ),
    ...missingOwners(topology, loads),
    ...loads.flatMap(({ group, log, halted }) => (halted === "" ? [] : [`log ${group}.${log}: ${halted}`])),
    ...(client.refusal() === undefined ? [] : [`commands are refused: ${client.refusal()?.reason ?? ""}`]),
  ];
  const known = streams.flatMap((status, index) =>
    status === undefined ? [] : [{ name: names[index] ?? "", ...status }],
  );
  return {
    healthy: problems.length === 0 && facts !== undefined,
    problems: facts === undefined ? ["nats does not answer", ...problems] : problems,
    build: { version: build.version, runtime: build.runtime, startedAt: timestampFromMs(build.startedMs) },
    nats: {
      connected: facts !== undefined && bus.isConnected(),
      serverName: facts?.serverName ?? "",
      serverVersion: facts?.serverVersion ?? "",
      roundTrip: durationFromMs(Math.round(facts?.roundTripMs ?? 0)),
      storageBytes: known.reduce((sum, { bytes }) => sum + BigInt(bytes), 0n),
      storageLimitBytes: limitOf(known),
    },
    workers: workersOf(loads),
    logs: loads.map(({ group, log, owner, epoch, queued, oldestAgeMs }) => ({
      group,
      log,
      owner,
      epoch,
      backlogMessages: BigInt(queued),
      backlogAge: durationFromMs(Number(oldestAgeMs)),
    })),
    streams: known.map(({ name, messages, bytes }) => ({
      name,
      messages: BigInt(messages),
      bytes: BigInt(bytes),
    })),
    deadLettersOpen: BigInt(known.find(({ name }) => name === topology.streams.dead)?.messages ?? 0),
    asOf: timestampFromMs(clock.nowMs()),
  };
}

type Loads = ReturnType<ServiceDeps["client"]["loads"]>;

function missingOwners({ groups }: Topology, loads: Loads): readonly string[] {
  const owned = new Set(loads.filter(({ owner }) => owner !== "").map(({ group, log }) => `${group}.${log}`));
  return groups.flatMap(({ name, logs }) =>
    Array.from({ length: logs }, (_, log) => `${name}.${log}`)
      .filter((log) => !owned.has(log))
      .map((log) => `log ${log} has no owner`),
  );
}

function workersOf(loads: Loads) {
  const workers = new Map<string, { id: string; group: string; logs: number[] }>();
  for (const { group, log, owner } of loads) {
    if (owner === "") continue;
    const worker = workers.get(`${group}/${owner}`) ?? { id: owner, group, logs: [] };
    worker.logs.push(log);
    workers.set(`${group}/${owner}`, worker);
  }
  return [...workers.values()];
}

function limitOf(streams: readonly { readonly bytesMax: number }[]): bigint {
  const limits = streams.map(({ bytesMax }) => bytesMax);
  return limits.some((limit) => !Number.isFinite(limit))
    ? 0n
    : BigInt(limits.reduce((sum, limit) => sum + limit, 0));
}
