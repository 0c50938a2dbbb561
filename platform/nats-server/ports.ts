import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

/** What a server listens on, from the file it writes itself: no port is guessed. */
export interface ServerPorts {
  readonly url: string;
  readonly monitorUrl: string;
}

/** Below the range from which systems give out ports, so that nobody gets one of these by chance. */
const PORT_MIN = 20_000;
const PORT_COUNT = 12_000;
const ATTEMPTS_MAX = 200;

/** Empties the folder of the ports file. */
export function clearPorts(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
}

/** Undefined until the server has written its file. */
export function readPorts(dir: string): ServerPorts | undefined {
  const name = readdirSync(dir).find((entry) => entry.endsWith(".ports"));
  if (name === undefined) return undefined;
  try {
    const ports = JSON.parse(readFileSync(join(dir, name), "utf8")) as {
      nats?: string[];
      monitoring?: string[];
    };
    const [url] = ports.nats ?? [];
    const [monitorUrl] = ports.monitoring ?? [];
    return url === undefined || monitorUrl === undefined ? undefined : { url, monitorUrl };
  } catch {
    return undefined; // half written
  }
}

/** Whether a server could listen on this port of loopback now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen({ port, host: "127.0.0.1", exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

/** Different free ports that the system does not give to others meanwhile. */
export async function freePorts(count: number, float: () => number): Promise<number[]> {
  const ports = new Set<number>();
  for (let attempt = 0; attempt < ATTEMPTS_MAX && ports.size < count; attempt++) {
    const port = PORT_MIN + Math.floor(float() * PORT_COUNT);
    if (!ports.has(port) && (await isPortFree(port))) ports.add(port);
  }
  if (ports.size < count) throw new Error(`no ${count} free ports in ${PORT_MIN}-${PORT_MIN + PORT_COUNT}`);
  return [...ports];
}
