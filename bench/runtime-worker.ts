/** A worker of `core` that knows the sample actor alone: `node bench/runtime-worker.ts`, with NATS_URL. */
import { createJetStreamBus, createTopology, ensureTopology, startWorker } from "../actors/runtime/index.ts";
import { sampleActor } from "../actors/runtime/sample.ts";
import { systemClock } from "../platform/clock.ts";
import { createLogger } from "../platform/log.ts";
import { connectNats } from "../platform/nats.ts";
import { systemRandom } from "../platform/random.ts";

const log = createLogger({ role: "runtime", level: "warn", pretty: false });
const nc = await connectNats({ servers: process.env["NATS_URL"] ?? "", name: "bench runtime", log });
const topology = createTopology({ logs: Number(process.env["LOGS"] ?? "1") });
await ensureTopology({ nc, topology, log, replicas: Number(process.env["STREAM_REPLICAS"] ?? "1") });
const worker = startWorker({
  bus: createJetStreamBus({ nc, log }),
  clock: systemClock,
  random: systemRandom,
  log,
  topology,
  group: "core",
  workerId: "bench",
  actors: [sampleActor],
  projections: [],
});
process.once("SIGTERM", () => void worker.stop().then(() => nc.close()));
