import { once } from "node:events";
import { connect, createServer } from "node:net";
import { expect, it } from "vitest";
import { listen } from "./listeners.ts";

const HOST = "127.0.0.1";
const options = { host: HOST, port: 0, backlog: 64, onConnection: () => undefined };

it("accepts more than one connection in a turn of the event loop", async () => {
  let accepted = 0;
  const sockets = new Set<{ destroy(): void }>();
  const onConnection = (socket: { destroy(): void }) => {
    accepted++;
    sockets.add(socket);
  };
  const listeners = await listen({ ...options, onConnection });
  try {
    const clients = Array.from({ length: 64 }, () => connect(listeners.port, HOST));
    await Promise.all(clients.map(async (client) => once(client, "connect")));
    let turns = 0;
    while (accepted < clients.length && turns < 1_000) {
      turns++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(accepted).toBe(clients.length);
    expect(turns).toBeLessThan(process.platform === "linux" ? clients.length : 1_000);
    for (const client of clients) client.destroy();
  } finally {
    listeners.close();
    for (const socket of sockets) socket.destroy();
  }
});

it("says that a port is taken, also by one who would share it", async () => {
  const first = await listen(options);
  await expect(listen({ ...options, port: first.port })).rejects.toMatchObject({ code: "EADDRINUSE" });
  first.close();
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, HOST, resolve));
  const { port } = other.address() as { port: number };
  await expect(listen({ ...options, port })).rejects.toMatchObject({ code: "EADDRINUSE" });
  other.close();
});
