import { type Clock, sleep } from "../../platform/clock.ts";
import type { Random } from "../../platform/random.ts";
import { OrderActor } from "../../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import {
  type OrderState,
  OrderStateSchema,
  OrderStatus,
} from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { PaymentStateSchema } from "../../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import type { ListPage } from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { type ActorClient, DomainError, type ReadResult, type Topology } from "../runtime/index.ts";

const DAY_MS = 86_400_000;
/** Least age of what is archived: the life of the idempotency key that placed an order (J22). */
export const ORDER_RETENTION_DAYS_MIN = 30;
export const ORDER_RETENTION_MS_MIN = ORDER_RETENTION_DAYS_MIN * DAY_MS;
/** Archived records stay so long: refusals that were answered in the last hours are answered alike. */
const KEEP_SECONDS = 86_400;

/** Pages of a list that are looked at in one step; one page has 16 entries, more where older ones stayed. */
const PAGES_PER_STEP = 8;
const CALL_MS_MAX = 10_000;

const { CONFIRMED, CANCELLED, REJECTED, EXPIRED, FAILED, COMPLETED } = OrderStatus;
const MAY_LEAVE: ReadonlySet<OrderStatus> = new Set([
  CONFIRMED,
  CANCELLED,
  REJECTED,
  EXPIRED,
  FAILED,
  COMPLETED,
]);

/** What archiving needs from outside. */
export interface ArchivistDeps {
  readonly client: ActorClient;
  readonly topology: Topology;
  readonly clock: Clock;
  readonly random: Random;
}

export interface ArchiveOptions {
  /** Orders whose last change is at least so old leave. */
  readonly ageMs: number;
  /** Rest between two steps of up to 128 orders, so that archiving stays behind the daily work. */
  readonly restMs: number;
  /** Ends the run between two steps. */
  readonly signal: AbortSignal;
  /** How long the records of what has left are kept; a day by default. */
  readonly keepSeconds?: number;
}

/** What a run has come to. */
export interface ArchiveRun {
  /** Orders that have left in this run. */
  readonly archived: number;
  /** Orders that are old enough by their creation and stay: changed since, or something of them is still open. */
  readonly kept: number;
  /** False if it was ended before it had seen everything, or the system was busy. */
  readonly isComplete: boolean;
}

/**
 * Lets the old orders of a tenant leave, oldest first, with their payments, and takes them from the lists. Each order
 * leaves in one commit of its log, or not at all; a run that is cut off anywhere is taken up by the next one, and two
 * at the same time do no harm.
 * @throws CallError when the system does not answer
 */
export async function archiveOrders(
  deps: ArchivistDeps,
  tenant: string,
  options: ArchiveOptions,
): Promise<ArchiveRun> {
  const run = new Run(deps, tenant, options);
  const { logs } = deps.topology.group("core");
  for (let log = 0; log < logs && run.mayGoOn(); log++) {
    await run.walk("orders", log, (keys) => run.archive(log, keys));
    await run.walk("payments", log, (keys) => run.leftPayments(keys));
  }
  return { archived: run.archived, kept: run.kept, isComplete: run.mayGoOn() };
}

class Run {
  readonly #deps: ArchivistDeps;
  readonly #tenant: string;
  readonly #options: ArchiveOptions;
  readonly #sinceMs: bigint;
  archived = 0;
  kept = 0;

  constructor(deps: ArchivistDeps, tenant: string, options: ArchiveOptions) {
    this.#deps = deps;
    this.#tenant = tenant;
    this.#options = options;
    this.#sinceMs = BigInt(deps.clock.nowMs() - options.ageMs);
  }

  mayGoOn(): boolean {
    return !this.#options.signal.aborted && this.#deps.client.refusal() === undefined;
  }

  /** Looks at the old pages of a list, step by step; `leave` tells which of the keys have left. */
  async walk(
    list: string,
    log: number,
    leave: (keys: readonly string[]) => Promise<ReadonlySet<string>>,
  ): Promise<void> {
    const { client, clock } = this.#deps;
    for (let from = 0; this.mayGoOn();) {
      const pages = await client.oldestPages(this.#tenant, list, log, from, PAGES_PER_STEP);
      const old = oldOnes(pages, this.#sinceMs);
      const last = old.at(-1);
      if (last === undefined) return;
      const left = await leave(old.flatMap(({ entries }) => entries.map(({ id }) => id)));
      const trims = old.map(({ page, entries }) => {
        const ids = entries.map(({ id }) => id).filter((id) => left.has(id));
        return client.trimList(this.#tenant, list, log, { page, ids });
      });
      await Promise.all(trims);
      if (old.length < PAGES_PER_STEP) return;
      from = last.page + 1;
      await sleep(clock, this.#options.restMs, this.#options.signal);
    }
  }

  /** Archives those of the orders that can leave. @returns those that have left, now or before */
  async archive(log: number, keys: readonly string[]): Promise<ReadonlySet<string>> {
    const { client } = this.#deps;
    const read = () => client.readMany("order", OrderStateSchema, this.#tenant, keys);
    const before = await read();
    const leaving = keys.filter((key) => this.#mayLeave(before.get(key)?.state));
    await Promise.all(leaving.map((key) => this.#ask(log, key)));
    const after = leaving.length === 0 ? before : await read();
    const left = new Set(keys.filter((key) => hasLeft(after.get(key))));
    this.archived += leaving.filter((key) => left.has(key)).length;
    this.kept += keys.length - left.size;
    return left;
  }

  async leftPayments(keys: readonly string[]): Promise<ReadonlySet<string>> {
    const { client } = this.#deps;
    const payments = await client.readMany("payment", PaymentStateSchema, this.#tenant, keys);
    return new Set(keys.filter((key) => hasLeft(payments.get(key))));
  }

  #mayLeave(state: OrderState | undefined): boolean {
    return state?.archivedMs === 0n && state.updatedMs <= this.#sinceMs && MAY_LEAVE.has(state.status);
  }

  async #ask(log: number, key: string): Promise<void> {
    const { client, random, topology } = this.#deps;
    const { keepSeconds = KEEP_SECONDS } = this.#options;
    const message = {
      unchangedSinceMs: this.#sinceMs,
      ledger: ledgerKey(topology, this.#tenant, log),
      keepSeconds,
    };
    const options = { requestId: `archive-${random.id()}`, timeoutMs: CALL_MS_MAX };
    try {
      await client.call(OrderActor.method.archive, { tenant: this.#tenant, key }, message, options);
    } catch (error) {
      if (!(error instanceof DomainError)) throw error; // another run was faster: it shows when they are read again
    }
  }
}

/** Key of the ledger in a log: the first of its name that lands there. */
function ledgerKey(topology: Topology, tenant: string, log: number): string {
  for (let number = 0; ; number++) {
    const key = `ledger-${number}`;
    if (topology.logOf("core", tenant, key) === log) return key;
  }
}

/** The first pages, as long as they have nothing but entries that are old enough. */
function oldOnes(pages: readonly ListPage[], sinceMs: bigint): readonly ListPage[] {
  const young = pages.findIndex(({ entries }) => entries.some(({ createdMs }) => createdMs > sinceMs));
  return young < 0 ? pages : pages.slice(0, young);
}

/** A record is known to be gone only if its owner says so: the bucket may lag. */
function hasLeft(read: ReadResult<typeof OrderStateSchema | typeof PaymentStateSchema> | undefined): boolean {
  if (read === undefined) return false;
  return read.state === undefined ? read.asOfMs === undefined : read.state.archivedMs !== 0n;
}
