import { join } from "node:path";
import type { Env, ProcessParts } from "../actors/main.ts";
import { sleep, systemClock } from "../platform/clock.ts";
import { type NatsServer, resolveNatsServer, startNatsServer } from "../platform/nats-server/index.ts";
import type { Terminal } from "./terminal.ts";

/** The NATS that `npm start` works with. */
export interface DevNats {
  readonly url: string;
  /** Only of an embedded server. */
  readonly monitorUrl: string | undefined;
  readonly isEmbedded: boolean;
}

interface DevNatsConfig {
  readonly natsUrl: string | undefined;
  readonly dataDir: string;
  readonly syncInterval: string;
}

const RESTART_WAIT_MS = 500;
const RESTARTS_MAX = 20;

/**
 * With NATS_URL: that one, and nothing is started. Else an embedded nats-server on the usual ports if they are
 * free; when
 * it is killed it is started again.
 * @throws NatsServerMissingError, NatsServerStartError, StoreInUseError
 */
export async function startDevNats(
  terminal: Terminal,
  env: Env,
  { natsUrl, dataDir, syncInterval }: DevNatsConfig,
  parts: ProcessParts,
  fresh: boolean,
): Promise<DevNats> {
  if (natsUrl !== undefined) {
    if (fresh) terminal.note("--fresh leaves the data of NATS_URL alone");
    return { url: natsUrl, monitorUrl: undefined, isEmbedded: false };
  }
  const { path } = await resolveNatsServer({ env, progress: (line) => terminal.note(line) });
  const server = await startNatsServer({
    binary: path,
    dataDir: join(dataDir, "nats"),
    port: "usual",
    monitorPort: "usual",
    syncInterval,
    fresh,
    log: parts.log,
  });
  const watch = keepAlive(server, parts);
  parts.shutdown.add("nats-server", () => {
    watch.end();
    return server.stop();
  });
  return { url: server.url, monitorUrl: server.monitorUrl, isEmbedded: true };
}

/** Starts it again whenever it ends by itself, also while the others are stopping: they hand over through it. */
function keepAlive(server: NatsServer, { log, health, shutdown }: ProcessParts): { end(): void } {
  const ended = new AbortController();
  let restarts = 0;
  health.ok("nats-server");
  const again = async () => {
    while (!ended.signal.aborted) {
      if (++restarts > RESTARTS_MAX) {
        log.fatal({ restarts }, "nats-server keeps ending");
        void shutdown.stop("nats-server keeps ending");
        return;
      }
      await sleep(systemClock, RESTART_WAIT_MS, ended.signal);
      if (ended.signal.aborted) return;
      try {
        await server.restart();
        health.ok("nats-server");
        return;
      } catch (err) {
        log.error({ err }, "nats-server does not start again");
      }
    }
  };
  server.onCrash(() => {
    health.fail("nats-server", "it ended and is started again");
    void again();
  });
  return { end: () => ended.abort() };
}
