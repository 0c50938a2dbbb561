import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { systemClock } from "../../../platform/clock.ts";

/** What happens to bytes on their way. */
export type Weather = "fair" | "blackhole" | "no answers";

/** Stands between two processes, and lets through, delays, swallows or breaks what they say. */
export class TcpProxy implements AsyncDisposable {
  weather: Weather = "fair";
  /** Each way. */
  latencyMs = 0;
  /** New connections are reset. */
  isRefusing = false;
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#server = createServer((client) => {
      this.connections++;
      if (this.isRefusing) return void client.resetAndDestroy();
      const server = connect({ ...target, noDelay: true });
      client.setNoDelay(true);
      this.#join(client, server, true);
      this.#join(server, client, false);
    });
  }

  /** @param url anything with a host and a port */
  static async before(url: string): Promise<TcpProxy> {
    const { hostname: host, port } = new URL(url);
    const proxy = new TcpProxy({ host, port: Number(port) });
    await new Promise<void>((resolve) => void proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  /** The same URL, through this. */
  through(url: string): string {
    const changed = new URL(url);
    changed.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return changed.href.replace(/\/$/, "");
  }

  /** Breaks every connection with RST. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  #join(from: Socket, to: Socket, isUpward: boolean): void {
    this.#sockets.add(from);
    from.on("data", (chunk) => {
      // What falls into the hole never arrives: on a real network the connection would be as dead.
      if (this.weather === "blackhole" || (this.weather === "no answers" && !isUpward)) return;
      if (this.latencyMs === 0) to.write(chunk);
      else systemClock.setTimer(() => to.destroyed || to.write(chunk), this.latencyMs);
    });
    from.on("error", () => to.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
