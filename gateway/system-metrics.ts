import type { ActorClient, Topology } from "../actors/runtime/index.ts";
import type { GaugeMetric, Metrics } from "../platform/metrics.ts";

type Load = ReturnType<ActorClient["loads"]>[number];
type Source = Pick<ActorClient, "loads" | "refusal">;

const MS_PER_SECOND = 1_000;

/** What every gateway hears of the logs, for alerts: the same from each, so take the maximum. Read at the scrape. */
export function registerSystemMetrics(metrics: Metrics, client: Source, topology: Topology): void {
  const perLog = (name: string, help: string, valueOf: (load: Load) => number) =>
    metrics.gauge({ name, help, labels: ["log"], collect: (gauge) => setAll(gauge, client, valueOf) });
  perLog(
    "tradewind_log_backlog_seconds",
    "Age of the oldest message that a log has not applied.",
    ({ oldestAgeMs }) => Number(oldestAgeMs) / MS_PER_SECOND,
  );
  perLog(
    "tradewind_log_projection_seconds",
    "Age of the oldest commit of a log whose records cannot be read from the bucket yet.",
    ({ projectionAgeMs }) => Number(projectionAgeMs) / MS_PER_SECOND,
  );
  perLog("tradewind_log_waiting_count", "Messages that wait for a log.", ({ queued }) => queued);
  metrics.gauge({
    name: "tradewind_log_owned_count",
    help: "Logs of a group whose owner was heard within five seconds.",
    labels: ["group"],
    collect: (gauge) => {
      const loads = client.loads();
      for (const { name } of topology.groups)
        gauge.set({ group: name }, loads.filter(({ group }) => group === name).length);
    },
  });
  metrics.gauge({
    name: "tradewind_gateway_commands_refused",
    help: "1 while new commands are refused: a log is behind, the store is full, or NATS is away.",
    collect: (gauge) => gauge.set(client.refusal() === undefined ? 0 : 1),
  });
}

/** A log that nobody owns has no value: its last one would look well for ever. */
function setAll(gauge: GaugeMetric<"log">, client: Source, valueOf: (load: Load) => number): void {
  const seen = new Set<string>();
  for (const load of client.loads()) {
    const log = `${load.group}.${load.log}`;
    seen.add(log);
    gauge.set({ log }, valueOf(load));
  }
  for (const log of known.get(gauge) ?? []) if (!seen.has(log)) gauge.remove({ log });
  known.set(gauge, seen);
}

const known = new WeakMap<GaugeMetric<"log">, ReadonlySet<string>>();
