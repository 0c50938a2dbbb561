import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

export interface ListenOptions {
  readonly host: string;
  /** 0 takes any free one. */
  readonly port: number;
  /** Connections that wait to be accepted, at each listener. */
  readonly backlog: number;
  readonly onConnection: (socket: Socket) => void;
}

/** A port that is listened on. */
export interface Listeners {
  readonly port: number;
  /** Accepts no more; connections go on. */
  close(): void;
}

/**
 * Node accepts one connection of a listener in each turn of its event loop, so a busy process starves new callers:
 * with turns of 10 ms one listener accepted 233 of 2,000 connections within 2.5 s, eight that share the port 1,854.
 * A gateway at its limit has turns of 100 ms.
 */
const LISTENERS = 64;

/**
 * Listens on one port several times where the system knows how (Linux), else once.
 * @throws an error with code EADDRINUSE if anybody has the port, also one who would share it
 */
export async function listen(options: ListenOptions): Promise<Listeners> {
  const alone = await open(options, options.port, false);
  const { port } = alone.address() as AddressInfo;
  const servers = [alone];
  try {
    // The first one has seen that nobody else has the port; only now may it be shared.
    if (process.platform === "linux") {
      await new Promise((resolve) => alone.close(resolve));
      servers.splice(0);
      for (let at = 0; at < LISTENERS; at++) servers.push(await open(options, port, true));
    }
  } catch (error) {
    for (const server of servers) server.close();
    throw error;
  }
  return { port, close: () => servers.forEach((server) => server.close()) };
}

function open(
  { host, backlog, onConnection }: ListenOptions,
  port: number,
  reusePort: boolean,
): Promise<Server> {
  const server = createServer({ noDelay: true, keepAlive: true }, onConnection);
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog, reusePort }, () => {
      server.off("error", reject);
      resolve(server);
    });
  });
}
