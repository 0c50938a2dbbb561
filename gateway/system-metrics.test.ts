import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { createTopology } from "../actors/runtime/index.ts";
import { createMetrics } from "../platform/metrics.ts";
import { type Load, LoadSchema } from "../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { registerSystemMetrics } from "./system-metrics.ts";

it("shows what is heard of each log, and nothing of a log that is not heard any more", async () => {
  const metrics = createMetrics();
  const loads: Load[] = [
    create(LoadSchema, { group: "core", log: 2, oldestAgeMs: 1_500n, projectionAgeMs: 40n, queued: 7 }),
    create(LoadSchema, { group: "analytics", log: 0 }),
  ];
  const full = { reason: "the store is full", retryAfterMs: 1_000 };
  const client = { loads: () => loads, refusal: () => (loads.length === 0 ? full : undefined) };
  registerSystemMetrics(metrics, client, createTopology({ logs: 4 }));
  const lines = async () => (await metrics.render()).split("\n");
  expect(await lines()).toEqual(
    expect.arrayContaining([
      'tradewind_log_backlog_seconds{log="core.2"} 1.5',
      'tradewind_log_projection_seconds{log="core.2"} 0.04',
      'tradewind_log_waiting_count{log="core.2"} 7',
      'tradewind_log_owned_count{group="core"} 1',
      "tradewind_gateway_commands_refused 0",
    ]),
  );
  loads.length = 0;
  const later = await lines();
  expect(later.filter((line) => line.includes("core.2"))).toEqual([]);
  expect(later).toEqual(
    expect.arrayContaining([
      'tradewind_log_owned_count{group="core"} 0',
      "tradewind_gateway_commands_refused 1",
    ]),
  );
});
