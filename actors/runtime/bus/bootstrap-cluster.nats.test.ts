import { afterAll, beforeAll, expect, it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { silentLogger as log } from "../../../platform/log.ts";
import { connectNats, type NatsConnection } from "../../../platform/nats.ts";
import { type TestCluster, testCluster } from "../../../platform/nats-server/testing.ts";
import { ensureTopology } from "./bootstrap-jetstream.ts";
import { createTopology } from "../topology.ts";

/** One process finds a stream missing while another one makes it. */
const STAGGER_MS = 3;

let cluster: TestCluster;
let connections: NatsConnection[];

beforeAll(async () => {
  cluster = await testCluster();
  connections = await Promise.all(cluster.urls.map((servers) => connectNats({ servers, name: "test", log })));
}, 60_000);

afterAll(async () => {
  await Promise.all(connections.map((nc) => nc.close()));
  await cluster.stop();
});

it("makes the streams of a cluster by many processes, each at another server and a moment later", async () => {
  for (let round = 0; round < 2; round++) {
    const topology = createTopology({ shard: `c${round}` });
    const all = [...connections, ...connections, ...connections].map(async (nc, index) => {
      await sleep(systemClock, index * STAGGER_MS + round);
      await ensureTopology({ nc, topology, log, replicas: 3 });
    });
    const outcomes = await Promise.allSettled(all);
    expect(outcomes.flatMap((each) => (each.status === "rejected" ? [String(each.reason)] : []))).toEqual([]);
  }
}, 60_000);
