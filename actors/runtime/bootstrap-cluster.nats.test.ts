import { afterAll, beforeAll, expect, it } from "vitest";
import { silentLogger as log } from "../../platform/log.ts";
import { connectNats, type NatsConnection } from "../../platform/nats.ts";
import { type TestCluster, testCluster } from "../../platform/nats-server/testing.ts";
import { ensureTopology } from "./bootstrap-jetstream.ts";
import { createTopology } from "./topology.ts";

let cluster: TestCluster;
let connections: NatsConnection[];

beforeAll(async () => {
  cluster = await testCluster();
  connections = await Promise.all(
    cluster.urls.map((servers) => connectNats({ servers, name: "test", log })),
  );
}, 60_000);

afterAll(async () => {
  await Promise.all(connections.map((nc) => nc.close()));
  await cluster.stop();
});

it("makes the streams of a cluster by many processes at once, each at another server", async () => {
  for (let round = 0; round < 8; round++) {
    const topology = createTopology({ shard: `c${round}` });
    const all = [...connections, ...connections].map((nc) => ensureTopology({ nc, topology, log, replicas: 3 }));
    const outcomes = await Promise.allSettled(all);
    expect(outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [String(outcome.reason)] : []))).toEqual([]);
  }
}, 60_000);
