/** State of one part of a process. `reason` says why it is not ok, or what is worth knowing when it is. */
export interface ComponentHealth {
  readonly ok: boolean;
  readonly reason: string;
  /** A vital part that is not ok makes the process not live, so that its host restarts it. */
  readonly vital: boolean;
}

/** Ready and live of one process, put together from named parts. */
export interface Health {
  /** Declares a part; it starts as not ok ("starting"). Declaring again keeps its state. */
  register(name: string, options?: { readonly vital?: boolean }): void;
  /** Marks a part as working. Registers it when it is new. */
  ok(name: string, reason?: string): void;
  /** Marks a part as not working. Registers it when it is new. */
  fail(name: string, reason: string): void;
  remove(name: string): void;
  /** Called after every change of a part; returns how to stop listening. */
  onChange(listener: () => void): () => void;
  /** Every part is ok, and the process is not stopping. */
  isReady(): boolean;
  /** No vital part has failed after it was once ok. */
  isLive(): boolean;
  /** From now on never ready: load balancers drain before the listeners close. */
  stopping(): void;
  components(): Readonly<Record<string, ComponentHealth>>;
}

interface Part {
  ok: boolean;
  reason: string;
  vital: boolean;
  started: boolean;
}

export function createHealth(): Health {
  const parts = new Map<string, Part>();
  const listeners = new Set<() => void>();
  let isStopping = false;

  const changed = () => {
    for (const listener of listeners) listener();
  };
  const register = (name: string, vital: boolean): Part => {
    const part = parts.get(name) ?? { ok: false, reason: "starting", vital, started: false };
    parts.set(name, part);
    return part;
  };
  const set = (name: string, ok: boolean, reason: string) => {
    const part = register(name, false);
    const isNews = part.ok !== ok || part.reason !== reason;
    Object.assign(part, { ok, reason, started: part.started || ok });
    if (isNews) changed();
  };

  return {
    register: (name, { vital = false } = {}) => void register(name, vital),
    ok: (name, reason = "") => set(name, true, reason),
    fail: (name, reason) => set(name, false, reason),
    remove: (name) => {
      if (parts.delete(name)) changed();
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    isReady: () => !isStopping && [...parts.values()].every((part) => part.ok),
    isLive: () => [...parts.values()].every((part) => part.ok || !part.vital || !part.started),
    stopping: () => {
      if (isStopping) return;
      isStopping = true;
      changed();
    },
    components: () => {
      const entries = [...parts].map(
        ([name, { ok, reason, vital }]) => [name, { ok, reason, vital }] as const,
      );
      if (isStopping) entries.push(["shutdown", { ok: false, reason: "stopping", vital: false }]);
      return Object.fromEntries(entries);
    },
  };
}
