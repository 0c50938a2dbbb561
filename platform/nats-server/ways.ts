import type { Target } from "./cache.ts";

/** What a way of obtaining nats-server gets. */
export interface WayContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly target: Target;
  /** Empty, on the same file system as the cache, removed afterwards. */
  readonly workDir: string;
  /** One line for the person who waits. */
  readonly progress: (line: string) => void;
}

/** One way of obtaining nats-server. */
export interface Way {
  /** For the line that reports a failure. */
  readonly name: string;
  /** Returns the path of an executable in the work directory, or throws with the reason in one line. */
  readonly obtain: (context: WayContext) => Promise<string>;
}
