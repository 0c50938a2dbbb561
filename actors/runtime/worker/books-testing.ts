import {
  type Commit,
  CommitKind,
  MarkSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { SampleStateSchema } from "../../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import type { Bus } from "../bus/bus.ts";
import type { ActorClient } from "../client.ts";
import { decode } from "../codec/decode.ts";
import { TO_HEADER } from "../log/draft.ts";
import { nextSequence, takenOf } from "../log/inputs.ts";
import { readLogEnd } from "../log/journal.ts";
import type { Topology } from "../topology.ts";
import type { Worker } from "./worker.ts";

/** Log lines kept for the message of a test that fails. */
const LINES_MAX = 60;
const SHOWN_MAX = 20;
const UNREAD_MAX = 5_000;

/** What a system with sample accounts is looked at by. */
export interface BooksOptions {
  readonly bus: Bus;
  readonly topology: Topology;
  readonly client: ActorClient;
  readonly workers: ReadonlyMap<string, Worker>;
  /** Balances that the answered calls come to, by key. */
  readonly wanted: ReadonlyMap<string, bigint>;
  readonly lines: Lines;
}

/** The last lines that were logged. */
export class Lines {
  #lines: string[] = [];

  readonly add = (line: string): void => {
    this.#lines = [...this.#lines.slice(1 - LINES_MAX), line.trimEnd()];
  };

  toString(): string {
    return this.#lines.join("\n");
  }
}

/**
 * Where books that do not balance stand, for the message of the failure: which accounts are wrong, who has which log,
 * how far it has read, and what it has not. It is rare, and cannot be looked at afterwards.
 */
export async function describeBooks(options: BooksOptions): Promise<string> {
  const { workers, topology, client, lines } = options;
  const owned = [...workers].map(
    ([name, worker]) => `${name} owns ${worker.owned().join(", ")}; ${worker.problem() ?? "is well"}`,
  );
  const logs = topology.groups.flatMap(({ name, logs: count }) =>
    Array.from({ length: count }, (_, log) => attempted(() => describeLog(options, name, log))),
  );
  const parts = [
    attempted(() => wrongAccounts(options)),
    ...logs,
    attempted(async () => {
      const letters = await client.listDeadLetters(undefined, SHOWN_MAX);
      const named = letters.map(({ reason, kind, key, method }) => `${reason} ${method} of ${kind} ${key}`);
      return `dead letters: ${named.join("; ") || "none"}`;
    }),
  ];
  return [...owned, ...(await Promise.all(parts)), lines.toString()].join("\n");
}

async function attempted(describe: () => Promise<string>): Promise<string> {
  try {
    return await describe();
  } catch (error) {
    return `not to be known: ${String(error)}`;
  }
}

async function wrongAccounts({ client, topology, wanted }: BooksOptions): Promise<string> {
  const accounts = await client.readMany("sample", SampleStateSchema, "demo", [...wanted.keys()], 10_000);
  const wrong = [...wanted].flatMap(([key, balance]) => {
    const { state, asOfMs } = accounts.get(key) ?? {};
    if (state?.balance === balance) return [];
    const where = `${key} of log ${topology.logOf("core", "demo", key)}`;
    return [
      `${where}: ${state?.balance} instead of ${balance}${asOfMs === undefined ? "" : ", not by its owner"}`,
    ];
  });
  return `${wrong.length} accounts are wrong: ${wrong.slice(0, SHOWN_MAX).join("; ")}`;
}

async function describeLog({ bus, topology }: BooksOptions, group: string, log: number): Promise<string> {
  const { streams } = topology;
  const end = await readLogEnd(bus, streams.log, topology.log(group, log));
  if (end === undefined) return `${group}.${log} is empty`;
  const { commit, sequence } = end;
  const kind = Object.entries(CommitKind).find(([, value]) => value === commit.kind)?.[0];
  const mark = async (stream: string, subject: string) => {
    const stored = await bus.last(stream, subject);
    return stored === undefined ? "nothing" : String(decode(MarkSchema, stored.data).logSequence);
  };
  const stored = await mark(streams.actors, topology.mark(group, log));
  const events = await mark(streams.events, topology.eventMark(group, log));
  const positions = commit.positions.map((p) => `${p.stream} ${p.sequence}${p.whole ? "" : `+${p.taken}`}`);
  return (
    `${group}.${log}: ${kind} ${sequence} of epoch ${commit.epoch} by ${commit.owner}, ` +
    `takeover ${commit.takeovers}, ${commit.carry.length} carried, read ${positions.join(", ")}; ` +
    `records through ${stored}, events through ${events}; unread: ${await unread(bus, topology, commit, group, log)}`
  );
}

async function unread(bus: Bus, topology: Topology, commit: Commit, group: string, log: number) {
  const { streams } = topology;
  const from = (stream: string) =>
    nextSequence(takenOf(commit.positions.find((position) => position.stream === stream)));
  if (topology.group(group).reads === "events") {
    const events = await bus.range(streams.events, topology.filters.events, from(streams.events), UNREAD_MAX);
    return `${events.length} events`;
  }
  const bundles = await bus.range(streams.inbox, topology.inbox(group, log), from(streams.inbox), UNREAD_MAX);
  const commits = await bus.range(streams.log, topology.filters.logs, from(streams.log), UNREAD_MAX);
  const mine = commits.filter(({ headers }) => headers[TO_HEADER]?.split(",").includes(`${group}.${log}`));
  return `${bundles.length} bundles of INBOX, ${mine.length} of ${commits.length} commits`;
}
