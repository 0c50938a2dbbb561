import {
  type ActorClient,
  createActorClient,
  createJetStreamBus,
  createTopology,
} from "../actors/runtime/index.ts";
import { type PlaceOrder, runClosed, type RunResult } from "../cli/load-run.ts";
import { systemClock } from "../platform/clock.ts";
import { silentLogger } from "../platform/log.ts";
import { connectNats } from "../platform/nats.ts";
import { systemRandom } from "../platform/random.ts";
import { SampleActor } from "../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import { cpuFigures, type Figures, memoryFigures, rounded, using } from "./measure.ts";
import { type Row, tellFailures } from "./row.ts";
import { type BenchSystem, startBare } from "./system.ts";

const ACCOUNTS = 1_024;
const IN_FLIGHT = 256;
const TENANT = "demo";
const TIMEOUT_MS = 30_000;
/** So many that three of four transfers run between two. */
const LOGS = 4;
const AMOUNT = 1_000_000_000_000n;
const WARM_UP_SHARE = 0.4;
const { open, deposit, transfer } = SampleActor.method;

type Call = (client: ActorClient, index: number, requestId: string) => Promise<unknown>;

const account = (index: number) => ({ tenant: TENANT, key: `a${index % ACCOUNTS}` });
const openAccount: Call = (client, index, requestId) =>
  client.call(open, account(index), { amount: AMOUNT }, { requestId, timeoutMs: TIMEOUT_MS });
const depositCall: Call = (client, index, requestId) =>
  client.call(deposit, account(index), { amount: 1n }, { requestId, timeoutMs: TIMEOUT_MS });
const transferCall: Call = (client, index, requestId) => {
  const message = { to: account(index * 7 + 1).key, amount: 1n };
  return client.call(transfer, account(index), message, { requestId, timeoutMs: TIMEOUT_MS });
};

/** The runtime without API and domain. A step is one message applied to one actor. */
function runtimeRow(name: string, about: string, call: Call, stepsPerCall: number): Row {
  return {
    name: `runtime-${name}`,
    group: "runtime",
    about: `the runtime alone, ${IN_FLIGHT} calls in flight, ${ACCOUNTS} accounts: ${about}`,
    start: startBare,
    run: async ({ system, seconds, signal, tell }): Promise<Figures> => {
      system.start("runtime", ["bench/runtime-worker.ts"], {
        STREAM_REPLICAS: String(system.servers.members.length),
        LOGS: String(LOGS),
      });
      const { client, close } = await connectClient(system);
      try {
        const run = systemRandom.id();
        const calls = (what: Call, label: string, limit: { orders?: number; durationMs?: number }) => {
          const place: PlaceOrder = async (index) =>
            outcomeOf(what(client, index, `${run}-${label}-${index}`));
          return runClosed({ clock: systemClock, signal, place, inFlight: IN_FLIGHT, ...limit });
        };
        tell("accounts");
        mustSucceed(await calls(openAccount, "open", { orders: ACCOUNTS }));
        tell("warm-up");
        await calls(call, "warm", { durationMs: seconds * 1_000 * WARM_UP_SHARE });
        tell(name);
        const [result, used] = await using(system, () => calls(call, "run", { durationMs: seconds * 1_000 }));
        tellFailures(result, tell);
        const { tally, latency, elapsedMs } = result;
        return {
          stepsPerSecond: rounded((tally.done * stepsPerCall * 1_000) / elapsedMs),
          p50Ms: rounded(latency.p50Ms),
          p99Ms: rounded(latency.p99Ms),
          maxMs: rounded(latency.maxMs),
          failed: tally.failed,
          ...cpuFigures(used, tally.done * stepsPerCall),
          ...memoryFigures(system.memory()),
        };
      } finally {
        await close();
      }
    },
  };
}

async function connectClient({ servers }: BenchSystem) {
  const log = silentLogger;
  const nc = await connectNats({ servers: servers.url, name: "bench", log });
  const bus = createJetStreamBus({ nc, log });
  const topology = createTopology({ logs: LOGS });
  const client = createActorClient({ bus, clock: systemClock, random: systemRandom, log, topology });
  const close = async () => {
    await client.close();
    bus.close();
    await nc.close();
  };
  return { client, close };
}

async function outcomeOf(call: Promise<unknown>): ReturnType<PlaceOrder> {
  try {
    await call;
    return { ok: true, status: "DONE", reason: "", isReplayed: false };
  } catch (error) {
    const { name, message } = error as Error;
    return { ok: false, code: name, message, retryAfterMs: 0 };
  }
}

function mustSucceed({ tally }: RunResult): void {
  const [first] = tally.messages;
  if (first !== undefined)
    throw new Error(`${tally.failed} accounts were not opened, ${first[0]}: ${first[1]}`);
}

export const runtimeRows: readonly Row[] = [
  runtimeRow("deposit", "one step and one event each", depositCall, 1),
  runtimeRow("transfer", "two steps each, three of four between logs", transferCall, 2),
];
