import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { describe, expect, it, onTestFinished } from "vitest";
import { sleep, systemClock } from "../clock.ts";
import { silentLogger } from "../log.ts";
import { connectNats } from "../nats.ts";
import { testCluster } from "./testing.ts";

describe("testCluster", () => {
  it("keeps acked data when its leader is killed, and heals when it comes back", async () => {
    const cluster = await testCluster();
    onTestFinished(() => cluster.stop());
    const nc = await connectNats({ servers: cluster.urls, name: "test", log: silentLogger });
    onTestFinished(() => nc.close());
    const jsm = await jetstreamManager(nc);
    await jsm.streams.add({ name: "S", subjects: ["s"], num_replicas: 3 });
    const js = jetstream(nc, { timeout: 500 });
    const publish = async (id: number) => {
      for (const giveUpMs = systemClock.monotonicMs() + 20_000; ; await sleep(systemClock, 50)) {
        try {
          return await js.publish("s", String(id), { msgID: `m-${id}` });
        } catch (error) {
          if (systemClock.monotonicMs() > giveUpMs) throw error;
        }
      }
    };
    for (let id = 0; id < 20; id++) await publish(id);
    const { cluster: group } = await jsm.streams.info("S");
    expect(group?.replicas).toHaveLength(2);
    const leader = cluster.servers[Number(group?.leader?.slice(1)) - 1] ?? expect.fail("no leader");
    await leader.kill();
    for (let id = 20; id < 40; id++) await publish(id);
    await leader.restart();
    await cluster.waitUntilReady();
    expect((await publish(40)).seq).toBe(41);
  });
});
