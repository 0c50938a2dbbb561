import { createTopology } from "../actors/runtime/index.ts";
import { silentLogger } from "../platform/log.ts";
import { connectNats } from "../platform/nats.ts";

/** Messages of one sort. */
export interface Traffic {
  readonly sort: string;
  readonly count: number;
  readonly bytes: number;
}

/** What is published, whoever reads it. Deliveries to readers have subjects of their own. */
const SUBJECTS = [
  "inbox.>",
  "timer.>",
  "log.>",
  "$KV.>",
  "ev.>",
  "evmark.>",
  "task.>",
  "retry.>",
  "reply.>",
  "read.>",
];

/** Listens to all that the system publishes until `stop`. It costs nats-server something: measure nothing meanwhile. */
export async function listen(url: string): Promise<{ stop(): Promise<readonly Traffic[]> }> {
  const nc = await connectNats({ servers: url, name: "bench traffic", log: silentLogger });
  const sums = new Map<string, { count: number; bytes: number }>();
  for (const subject of SUBJECTS) {
    nc.subscribe(subject, {
      callback: (_error, message) => {
        const sort = sortOf(message.subject);
        const sum = sums.get(sort) ?? { count: 0, bytes: 0 };
        sum.count++;
        sum.bytes += message.data.length;
        sums.set(sort, sum);
      },
    });
  }
  await nc.flush();
  return {
    stop: async () => {
      await nc.close();
      const found = [...sums].map(([sort, sum]) => ({ sort, ...sum }));
      return found.toSorted((a, b) => b.count - a.count);
    },
  };
}

const RECORDS = createTopology().record("", "", "").split(".").slice(0, 2).join(".");

/** `record order`, `event order_placed`, `commit core`, …: keys and tenants left out. */
export function sortOf(subject: string): string {
  const tokens = subject.split(".");
  const [first = "", second = "", third = "", fourth = "", fifth = ""] = tokens;
  if (subject.startsWith(`${RECORDS}.`)) {
    if (third === "analytics")
      return `record analytics ${fifth
        .split("-")
        .slice(0, fifth.startsWith("top") ? 2 : 1)
        .join("-")}`;
    return third === "list" ? `record list ${fifth.split("-")[0]}` : `record ${third}`;
  }
  if (first === "$KV") return "lease";
  if (first === "ev") return `event ${tokens.at(-1)}`;
  if (first === "evmark") return "mark of events";
  if (first === "log") return `commit ${second}`;
  if (first === "task") return third === "bundle" ? `tasks ${second}, bundle` : `task ${second}`;
  return first === "timer" ? `schedule ${fourth}` : first;
}
