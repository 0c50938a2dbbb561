import { connect, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import type { Generator } from "./generator.ts";
import { type Figures, memoryFigures, rounded, using } from "./measure.ts";
import { type Row, type RowContext, tellFailures, USUAL_ORDERS, warmGenerator } from "./row.ts";
import { serverFigures } from "./servers.ts";

const PATH = "/v1/orders:watch?snapshot_size=1";
/** Orders arrive so that all watchers together get about the same number of messages, however many they are. */
const DELIVERIES_PER_SECOND = 2_000;
const ORDERS_PER_SECOND_MAX = 200;
const CONNECTIONS = 64;
const CONNECT_AT_ONCE = 50;
const CONNECT_MS_MAX = 15_000;
const REST_MS = 1_500;
const EVENT_END = Buffer.from("\n\n");

/** A reader of server-sent events that only counts them. */
class Watcher {
  events = 0;
  readonly #socket: Socket;
  #tail = 0;

  constructor(url: URL, onFirst: () => void, onEnd: () => void) {
    this.#socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
    this.#socket.write(`GET ${PATH} HTTP/1.1\r\nhost: ${url.host}\r\naccept: text/event-stream\r\n\r\n`);
    this.#socket.on("error", () => undefined); // "close" follows
    this.#socket.once("close", onEnd);
    this.#socket.on("data", (chunk) => {
      const isFirst = this.events === 0;
      this.#count(chunk);
      if (isFirst && this.events > 0) onFirst();
    });
  }

  close(): void {
    this.#socket.removeAllListeners("close");
    this.#socket.destroy();
  }

  #count(chunk: Buffer): void {
    // An event's end may be cut between two chunks.
    if (this.#tail === 10 && chunk[0] === 10) this.events++;
    for (let at = chunk.indexOf(EVENT_END); at >= 0; at = chunk.indexOf(EVENT_END, at + 2)) this.events++;
    this.#tail = chunk.at(-1) ?? 0;
  }
}

/** Opens so many watches of all orders. @throws Error when one of them does not begin in time */
async function openWatchers(url: string, count: number): Promise<readonly Watcher[]> {
  const watchers: Watcher[] = [];
  const giveUpMs = performance.now() + CONNECT_MS_MAX;
  let begun = 0;
  let ended = 0;
  while (begun < count) {
    const isRoom = watchers.length < count && watchers.length - begun < CONNECT_AT_ONCE;
    if (isRoom)
      watchers.push(
        new Watcher(
          new URL(url),
          () => begun++,
          () => ended++,
        ),
      );
    else await setTimeout(2);
    if (ended > 0 || performance.now() > giveUpMs) {
      for (const watcher of watchers) watcher.close();
      throw new Error(`${begun} of ${count} watches began, ${ended} ended`);
    }
  }
  return watchers;
}

async function place(
  { seconds, tell }: RowContext,
  generator: Generator,
  ratePerSecond: number,
): Promise<number> {
  const result = await generator.open({
    ratePerSecond,
    durationMs: seconds * 1_000,
    connectionsMax: CONNECTIONS,
    wait: "settled",
  });
  tellFailures(result, tell);
  return result.tally.failed + result.dropped;
}

function eventsOf(watchers: readonly Watcher[]): number {
  return watchers.reduce((sum, { events }) => sum + events, 0);
}

/** Watches of all orders: what a message and a watcher cost the gateway. */
export function watchersRow(count: number): Row {
  const ratePerSecond = Math.max(1, Math.min(ORDERS_PER_SECOND_MAX, DELIVERIES_PER_SECOND / count));
  return {
    name: `watchers-${count}`,
    group: "watchers",
    about: `${count} watches of all orders over server-sent events, ${rounded(ratePerSecond)} orders/s`,
    run: async (context): Promise<Figures> => {
      const { system, seconds, tell } = context;
      const generator = await warmGenerator(context, USUAL_ORDERS);
      tell("without watchers");
      const [, alone] = await using(system, () => place(context, generator, ratePerSecond));
      const bytesBefore = system.memory().get("gateway") ?? 0;
      const consumersBefore = (await serverFigures(system.servers)).consumers;
      tell(`${count} watchers`);
      const watchers = await openWatchers(system.url, count);
      try {
        await setTimeout(REST_MS);
        const bytes = (system.memory().get("gateway") ?? 0) - bytesBefore;
        const { consumers } = await serverFigures(system.servers);
        const eventsBefore = eventsOf(watchers);
        const [failed, used] = await using(system, () => place(context, generator, ratePerSecond));
        await setTimeout(REST_MS / 3);
        const events = eventsOf(watchers) - eventsBefore;
        const each = watchers.map((watcher) => watcher.events);
        const cpu = (used.byRole.get("gateway") ?? 0) - (alone.byRole.get("gateway") ?? 0);
        return {
          failed,
          messagesPerSecond: rounded(events / seconds),
          gatewayCpuPerMessageUs: rounded((Math.max(0, cpu) * 1e6) / Math.max(1, events)),
          perWatcherKiB: rounded(Math.max(0, bytes) / 1_024 / count),
          consumersAdded: consumers - consumersBefore,
          messagesLeast: Math.min(...each),
          messagesMost: Math.max(...each),
          othersCores: rounded(used.othersCores),
          ...memoryFigures(system.memory()),
        };
      } finally {
        for (const watcher of watchers) watcher.close();
      }
    },
  };
}
