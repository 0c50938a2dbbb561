import { setTimeout } from "node:timers/promises";
import { createApiClient } from "../cli/api-client.ts";
import type { RunResult } from "../cli/load-run.ts";
import { failureLines } from "../cli/report.ts";
import { Generator, type Orders } from "./generator.ts";
import { type Figures, memoryFigures, orderFigures, rounded, using } from "./measure.ts";
import { type ServerFigures, serverFigures } from "./servers.ts";
import type { BenchSystem, SystemOptions } from "./system.ts";

/** What a row works with. */
export interface RowContext {
  readonly system: BenchSystem;
  /** Length of the measured part; the warm-up before it is shorter. */
  readonly seconds: number;
  readonly signal: AbortSignal;
  /** A line for the person who waits. */
  readonly tell: (line: string) => void;
}

/** One thing that is measured, on a system of its own. */
export interface Row {
  readonly name: string;
  /** What chooses it on the command line beside its name. */
  readonly group: string;
  readonly about: string;
  /** Starts what it runs on, if that is not the whole system. */
  readonly start?: (options: SystemOptions) => Promise<BenchSystem>;
  /** What it needs and this machine has not, for people. */
  readonly missing?: () => string | undefined;
  /** What it needs other than the setup. */
  readonly needs?: Partial<SystemOptions>;
  run(context: RowContext): Promise<Figures>;
}

/** As the peers are measured: 1 to 3 lines, 100 products. */
export const USUAL_ORDERS: Orders = { lines: { min: 1, max: 3 }, isHot: false };
const WARM_UP_IN_FLIGHT = 64;
const WARM_UP_SHARE = 0.4;
const REST_MS = 300;
/** What follows from the last orders is stored by then. */
const PROJECTED_MS = 500;
const RECONCILE_SECONDS = 25;
const API_MS_MAX = 60_000;

/** A generator whose products are there and whose orders have run for a while: code is compiled, caches are filled. */
export async function warmGenerator(
  { system, seconds, signal, tell }: RowContext,
  orders: Orders,
): Promise<Generator> {
  const generator = new Generator(system.url, orders, signal);
  tell("products");
  await generator.prepare();
  tell("warm-up");
  const durationMs = seconds * 1_000 * WARM_UP_SHARE;
  const shape = { inFlight: WARM_UP_IN_FLIGHT, connectionsMax: WARM_UP_IN_FLIGHT };
  tellFailures(await generator.closed({ ...shape, durationMs, wait: "settled" }), tell);
  await setTimeout(REST_MS);
  return generator;
}

/** A closed loop with so many orders in flight, each waited for until it is settled. */
export function closedRow(
  name: string,
  group: string,
  inFlight: number,
  orders: Orders = USUAL_ORDERS,
  needs: Partial<SystemOptions> = {},
): Row {
  const { min, max } = orders.lines;
  const lines = min === max ? `${min} line${min === 1 ? "" : "s"}` : `${min} to ${max} lines`;
  const products = orders.isHot ? "1 line, one hot product" : `${lines}, 100 products`;
  const { workers, logs, recordsCachedMax } = needs;
  const extras = [
    ...(logs === undefined ? [] : [`${logs} logs`]),
    ...(workers === undefined ? [] : [`${workers} worker${workers === 1 ? "" : "s"}, provider over HTTP`]),
    ...(recordsCachedMax === undefined ? [] : [`${recordsCachedMax} records cached per log`]),
  ];
  return {
    name,
    group,
    needs,
    about: [`closed loop, ${inFlight} in flight, ${products}`, ...extras].join(", "),
    run: async (context) => {
      const generator = await warmGenerator(context, orders);
      return closedFigures(context, generator, inFlight);
    },
  };
}

/** Runs the closed loop and measures it. */
export async function closedFigures(
  { system, seconds, tell }: RowContext,
  generator: Generator,
  inFlight: number,
): Promise<Figures> {
  tell(`${inFlight} in flight`);
  const before = await serverFigures(system.servers);
  const [result, used] = await using(system, () =>
    generator.closed({ inFlight, connectionsMax: inFlight, durationMs: seconds * 1_000, wait: "settled" }),
  );
  tellFailures(result, tell);
  const figures = orderFigures(result, used, system.memory());
  if (system.servers.members.length === 0) return figures;
  await setTimeout(PROJECTED_MS);
  const after = await serverFigures(system.servers);
  return { ...figures, ...messageFigures(before, after, result.tally.done) };
}

/** Messages of one order: what the servers get and send, and what is stored in each stream. */
function messageFigures(before: ServerFigures, after: ServerFigures, orders: number): Figures {
  const perOrder = (count: number) => rounded(count / Math.max(1, orders));
  const stored = [...after.streams].flatMap(([name, { lastSequence }]) => {
    const count = lastSequence - (before.streams.get(name)?.lastSequence ?? 0);
    return name.includes("leases") ? [] : [[`perOrder.${name}`, perOrder(count)] as const];
  });
  return {
    "perOrder.in": perOrder(after.messagesIn - before.messagesIn),
    "perOrder.out": perOrder(after.messagesOut - before.messagesOut),
    ...Object.fromEntries(stored),
  };
}

const ACCEPT_PER_SECOND = 300;
const ACCEPT_CONNECTIONS = 256;

/** How long it takes until an order is durable, while orders arrive evenly. */
export const acceptRow: Row = {
  name: "accept-300",
  group: "accept",
  about: `open loop, ${ACCEPT_PER_SECOND} orders/s, answered when durable; latency from the intended start`,
  run: async (context) => {
    const { system, seconds, tell } = context;
    const generator = await warmGenerator(context, USUAL_ORDERS);
    tell(`${ACCEPT_PER_SECOND}/s`);
    const [result, used] = await using(system, () =>
      generator.open({
        ratePerSecond: ACCEPT_PER_SECOND,
        durationMs: seconds * 1_000,
        connectionsMax: ACCEPT_CONNECTIONS,
        wait: "accepted",
      }),
    );
    tellFailures(result, tell);
    return orderFigures(result, used, system.memory());
  },
};

/** CPU of the system while nobody calls, in per cent of one core. */
export const idleRow: Row = {
  name: "idle",
  group: "idle",
  about: "nobody calls: CPU in per cent of one core",
  run: async (context) => {
    const { system, seconds, tell } = context;
    await warmGenerator(context, USUAL_ORDERS);
    await setTimeout(2_000, undefined, { signal: context.signal });
    tell("idle");
    const [, { byRole, othersCores, seconds: elapsed }] = await using(system, () =>
      setTimeout(seconds * 1_000, undefined, { signal: context.signal }),
    );
    const percent = [...byRole].map(
      ([role, cpu]) => [`idlePercent.${role}`, Math.round((cpu * 1_000) / elapsed) / 10] as const,
    );
    return { ...Object.fromEntries(percent), ...memoryFigures(system.memory()), othersCores };
  },
};

/** Says each kind of failure once. */
export function tellFailures({ tally }: RunResult, tell: (line: string) => void): void {
  for (const line of failureLines(tally)) tell(line.trim());
}

/** What is wrong with the books; empty if nothing is. */
export async function unclean(url: string): Promise<string> {
  const api = createApiClient(url, API_MS_MAX);
  try {
    const found = await api.call<{ verdict: string; checks: { name: string; verdict: string }[] }>(
      "/tradewind.ops.v1.OpsService/Reconcile",
      { timeout: `${RECONCILE_SECONDS}s` },
    );
    if (found.verdict === "RECONCILE_VERDICT_CLEAN") return "";
    const wrong = found.checks.filter(({ verdict }) => verdict !== "RECONCILE_VERDICT_CLEAN");
    return wrong
      .map(({ name, verdict }) => `${name} ${verdict.replace("RECONCILE_VERDICT_", "")}`)
      .join(", ");
  } finally {
    api.close();
  }
}
