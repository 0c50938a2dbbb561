import { freePorts } from "../../platform/nats-server/ports.ts";
import { closedRow, type Row, USUAL_ORDERS } from "../row.ts";
import { type BenchSystem, listens, startProcesses, type SystemOptions } from "../system.ts";
import { findPostgres, startPostgres } from "./postgres.ts";

async function startPeer({ syncInterval, replicas, provider }: SystemOptions): Promise<BenchSystem> {
  if (replicas > 1 || provider !== "memory") throw new Error("peers run on r1-always and r1-default");
  const postgres = await startPostgres(findPostgres() ?? "", syncInterval === "always");
  const [port] = await freePorts(1, Math.random);
  const system = startProcesses({ name: "postgres", members: [], ...postgres }, `http://127.0.0.1:${port}`);
  system.adopt("postgres", postgres.pid);
  const env = { DATABASE_URL: postgres.url, PORT: String(port) };
  system.start("peer", ["bench/peers/postgres-service.ts"], env);
  await Promise.race([listens(system.url), system.failure]).catch(async (error: unknown) => {
    await system.stop();
    throw error;
  });
  return system;
}

const MISSING =
  "the rows of peers are skipped, no PostgreSQL is found: apt-get install postgresql, or its like";

function peerRow(name: string, inFlight: number, orders = USUAL_ORDERS): Row {
  const missing = () => (findPostgres() === undefined ? MISSING : undefined);
  const row = closedRow(`peer-postgres-${name}`, "peers", inFlight, orders);
  return { ...row, about: `Node and PostgreSQL: ${row.about}`, start: startPeer, missing };
}

/** The same orders by what a user might choose instead. They are measured where they are asked for. */
export const PEER_ROWS: readonly Row[] = [
  peerRow("1", 1),
  peerRow("64", 64),
  peerRow("256", 256),
  peerRow("hot-64", 64, { ...USUAL_ORDERS, isHot: true }),
];
