import { testCluster } from "../../../platform/nats-server/testing.ts";
import { busContract } from "./bus.contract.ts";
import { worldOn } from "./bus-jetstream-testing.ts";

busContract("jetstream bus, cluster of three", async () => {
  const cluster = await testCluster();
  const each = (run: (server: (typeof cluster.servers)[number]) => Promise<void>) =>
    Promise.all(cluster.servers.map(run));
  return worldOn({
    urls: cluster.urls,
    replicas: 3,
    kill: async () => void (await each((server) => server.kill())),
    restart: async () => {
      await each((server) => server.restart());
      await cluster.waitUntilReady();
    },
    stop: () => cluster.stop(),
  });
});
