import { LRUCache } from "lru-cache";
import type { Clock } from "../platform/clock.ts";

/** Figures with their text, which is the same when the figures are. */
export interface Posted<T> {
  readonly value: T;
  readonly text: string;
}

/** Figures that many watchers want at the same moment are computed once. */
export interface FigureBoard {
  /** Computes the figures of this name, or gives those whose computation began at `notBeforeMs` or later. */
  get<T>(name: string, notBeforeMs: number, compute: () => Promise<T>): Promise<Posted<T>>;
}

/** Sets of figures kept; the least recently wanted goes first. */
const POSTED_MAX = 1_000;

export function createFigureBoard(clock: Clock): FigureBoard {
  const entries = new LRUCache<string, { startedMs: number; posted: Promise<Posted<unknown>> }>({
    max: POSTED_MAX,
  });
  return {
    get: <T>(name: string, notBeforeMs: number, compute: () => Promise<T>) => {
      const known = entries.get(name);
      if (known !== undefined && known.startedMs >= notBeforeMs) return known.posted as Promise<Posted<T>>;
      const posted = compute().then((value) => ({ value, text: textOf(value) }));
      entries.set(name, { startedMs: clock.monotonicMs(), posted });
      posted.catch(() => {
        // What failed is computed anew by the next who wants it.
        if (entries.peek(name)?.posted === posted) entries.delete(name);
      });
      return posted;
    },
  };
}

/** Figures as text, without the time that they are of: that alone is no news. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (key, inner: unknown) => {
    if (key === "asOf") return undefined;
    return typeof inner === "bigint" ? String(inner) : inner;
  });
}
