import type { DescMessage } from "@bufbuild/protobuf";
import type { ActorClient, RecordUpdate, Watch } from "../actors/runtime/index.ts";
import { type Clock, sleep, type TimerHandle } from "../platform/clock.ts";
import { edgeError } from "./connect-errors.ts";

/** Changes of all records of one kind and tenant, with a short memory for readers that come back. */
export interface RecordFeed<S extends DescMessage> {
  readonly ready: Promise<void>;
  /** Sequence of the newest change told; 0 before the first. */
  readonly newest: number;
  /** What came after this sequence, oldest first; undefined if that is not remembered. */
  since(sequence: number): readonly RecordUpdate<S>[] | undefined;
  close(): void;
}

/** Feeds of one kind: one watch for each tenant, however many readers. */
export interface RecordFeeds<S extends DescMessage> {
  /** Joins the feed; the listener is called synchronously with each change from now on. */
  join(tenant: string, listener: (update: RecordUpdate<S>) => void): RecordFeed<S>;
  close(): void;
}

export interface RecordFeedOptions<S extends DescMessage> {
  readonly client: ActorClient;
  readonly clock: Clock;
  readonly kind: string;
  readonly schema: S;
  /** Changes remembered for each tenant. */
  readonly replayMax: number;
  /** A feed without readers lives on for so long. */
  readonly lingerMs: number;
}

interface Feed<S extends DescMessage> {
  readonly watch: Watch;
  readonly listeners: Set<(update: RecordUpdate<S>) => void>;
  /** Oldest first; a slice is dropped when it is twice as long as it should be. */
  changes: RecordUpdate<S>[];
  /** Everything behind this sequence is remembered; undefined before the first change. */
  floor: number | undefined;
  linger: TimerHandle | undefined;
}

/** NATS has this long to let a watch begin. */
const READY_MS_MAX = 5_000;

export function createRecordFeeds<S extends DescMessage>(options: RecordFeedOptions<S>): RecordFeeds<S> {
  const { client, clock, kind, schema, replayMax, lingerMs } = options;
  const feeds = new Map<string, Feed<S>>();

  const open = (tenant: string): Feed<S> => {
    const listeners: Feed<S>["listeners"] = new Set();
    const watch = client.watch(kind, schema, tenant, undefined, (update) => {
      feed.floor ??= update.sequence - 1;
      feed.changes.push(update);
      if (feed.changes.length > replayMax * 2) {
        feed.floor = feed.changes.at(-replayMax - 1)?.sequence;
        feed.changes = feed.changes.slice(-replayMax);
      }
      for (const listener of listeners) listener(update);
    });
    const feed: Feed<S> = { watch, listeners, changes: [], floor: undefined, linger: undefined };
    feeds.set(tenant, feed);
    return feed;
  };

  const leave = (tenant: string, feed: Feed<S>) => {
    if (feed.listeners.size > 0 || feeds.get(tenant) !== feed) return;
    feed.linger = clock.setTimer(() => {
      feeds.delete(tenant);
      feed.watch.close();
    }, lingerMs);
  };

  return {
    join: (tenant, listener) => {
      const feed = feeds.get(tenant) ?? open(tenant);
      feed.linger?.cancel();
      feed.linger = undefined;
      feed.listeners.add(listener);
      return {
        ready: feed.watch.ready,
        get newest() {
          return feed.changes.at(-1)?.sequence ?? 0;
        },
        since: (sequence) => changesSince(feed, sequence),
        close: () => {
          if (feed.listeners.delete(listener)) leave(tenant, feed);
        },
      };
    },
    close: () => {
      for (const feed of feeds.values()) {
        feed.linger?.cancel();
        feed.watch.close();
      }
      feeds.clear();
    },
  };
}

/** A sequence ahead of what this process has seen may be of another store: it is not resumed from. */
function changesSince<S extends DescMessage>(
  { changes, floor }: Feed<S>,
  sequence: number,
): readonly RecordUpdate<S>[] | undefined {
  const newest = changes.at(-1)?.sequence ?? 0;
  if (floor === undefined || sequence < floor || sequence > newest) return undefined;
  const from = changes.findIndex((change) => change.sequence > sequence);
  return from < 0 ? [] : changes.slice(from);
}

/**
 * Waits until a watch tells every later change.
 * @throws ConnectError UNAVAILABLE when NATS cannot be reached, or the signal's reason
 */
export async function untilReady(
  watch: { readonly ready: Promise<void> },
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const stop = new AbortController();
  const timeout = sleep(clock, READY_MS_MAX, AbortSignal.any([signal, stop.signal])).then(() => false);
  const isReady = await Promise.race([watch.ready.then(() => true), timeout]);
  stop.abort();
  signal.throwIfAborted();
  if (!isReady) throw edgeError("UNAVAILABLE", `the watch did not begin within ${READY_MS_MAX} ms`);
}
