import { testServer } from "../../../platform/nats-server/testing.ts";
import { busContract } from "./bus.contract.ts";
import { worldOn } from "./bus-jetstream-testing.ts";

busContract("jetstream bus, one server", async () => {
  const server = await testServer();
  return worldOn({
    urls: [server.url],
    replicas: 1,
    kill: () => server.kill(),
    restart: () => server.restart(),
    stop: () => server.stop(),
  });
});
