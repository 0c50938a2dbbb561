import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Where a system that `npm start` runs can be reached. */
export interface Endpoint {
  readonly pid: number;
  readonly url: string;
  readonly natsUrl: string;
}

/** What is meant where nothing runs here and nothing is said. */
const USUAL = { url: "http://localhost:8080", natsUrl: "nats://127.0.0.1:4222" };

function pathOf(dataDir: string): string {
  return join(dataDir, "dev.json");
}

/** Leaves a note for the other commands; returns how to take it away. */
export function writeEndpoint(dataDir: string, endpoint: Endpoint): () => void {
  const path = pathOf(dataDir);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, JSON.stringify(endpoint));
  return () => rmSync(path, { force: true });
}

/** The system of this data folder if it runs, else the usual ports of this machine. */
export function findEndpoint(dataDir: string): { readonly url: string; readonly natsUrl: string } {
  try {
    const endpoint = JSON.parse(readFileSync(pathOf(dataDir), "utf8")) as Endpoint;
    process.kill(endpoint.pid, 0);
    return endpoint;
  } catch {
    return USUAL; // nothing was started here, or it was killed
  }
}
