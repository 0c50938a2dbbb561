import { clone } from "@bufbuild/protobuf";
import {
  type DeadLetter,
  DeadLetterSchema,
  type Entry,
  EntrySchema,
  RedriveSchema,
} from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Clock } from "../../../platform/clock.ts";
import type { Bus, StoredMessage } from "../bus/bus.ts";
import { CallError, type DeadLetterInfo } from "../client.ts";
import type { InboxWriter } from "../inbox-writer.ts";
import { isKey, type Topology } from "../topology.ts";
import { decode } from "../codec/decode.ts";
import { create } from "../codec/create.ts";

/** What the dead letters need from outside. */
export interface ClientDeadLettersOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly topology: Topology;
  readonly writer: InboxWriter;
}

const LIST_COUNT_MAX = 1_000;
const REDRIVE_TIMEOUT_MS = 10_000;

interface Found {
  readonly message: StoredMessage;
  readonly letter: DeadLetter;
}

/** What could not be applied: to look at, to try again, to throw away. */
export class ClientDeadLetters {
  readonly #options: ClientDeadLettersOptions;

  constructor(options: ClientDeadLettersOptions) {
    this.#options = options;
  }

  /** See ActorClient.listDeadLetters. At most 1,000. */
  async list(
    tenant: string | undefined,
    countMax: number,
    afterSequence = 0,
  ): Promise<readonly DeadLetterInfo[]> {
    const { bus, topology } = this.#options;
    const filter = topology.dead("*", tenant ?? "*", "*", "*");
    const count = Math.min(Math.max(1, countMax), LIST_COUNT_MAX);
    const messages = await bus.range(topology.streams.dead, filter, afterSequence + 1, count);
    return messages.map((message) => info({ message, letter: decode(DeadLetterSchema, message.data) }));
  }

  async get(id: string): Promise<DeadLetterInfo | undefined> {
    const found = await this.#find(id);
    return found && info(found);
  }

  /** @throws CallError defect: no entry can be read from it; others: not stored, or unknown */
  async redrive(id: string): Promise<boolean> {
    const found = await this.#find(id);
    if (found === undefined) return false;
    const { entry } = found.letter;
    if (entry === undefined) {
      throw new CallError("defect", `dead letter ${id} holds no readable message, discard it`);
    }
    const { topology, writer, clock } = this.#options;
    const group = topology.groupOf(entry.kind);
    const log = topology.logOf(group, entry.tenant, entry.key);
    await writer.append(group, log, redriven(entry, id), clock.monotonicMs() + REDRIVE_TIMEOUT_MS);
    await this.#purge(found);
    return true;
  }

  async discard(id: string): Promise<boolean> {
    const found = await this.#find(id);
    if (found === undefined) return false;
    await this.#purge(found);
    return true;
  }

  async #find(id: string): Promise<Found | undefined> {
    if (!isKey(id)) return undefined;
    const { bus, topology } = this.#options;
    const [message] = await bus.range(topology.streams.dead, topology.dead("*", "*", "*", id), 1, 1);
    return message && { message, letter: decode(DeadLetterSchema, message.data) };
  }

  async #purge({ message }: Found): Promise<void> {
    await this.#options.bus.purge(this.#options.topology.streams.dead, message.subject);
  }
}

/** The message as it was; nobody waits for its answer any more, and the actor takes each dead letter once. */
function redriven(entry: Entry, id: string): Entry {
  const again = clone(EntrySchema, entry);
  if (again.source.case === "request") again.source.value.replyTo = "";
  again.redrive = create(RedriveSchema, { deadLetter: id });
  again.origin = "";
  again.atMs = 0n;
  return again;
}

function info({ message, letter }: Found): DeadLetterInfo {
  const [id = "", key = "", tenant = "", kind = ""] = message.subject.split(".").reverse();
  const { reason, error, entry, raw, atMs } = letter;
  return {
    id,
    kind,
    tenant,
    key,
    method: entry?.method ?? "",
    reason,
    error,
    atMs: Number(atMs),
    body: entry?.body ?? raw,
    sequence: message.sequence,
  };
}
