import { SimStateSchema } from "../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import { CallError, type RecordUpdate, type StoredEvent, type Watch } from "../../actors/runtime/client.ts";
import { sleep } from "../../platform/clock.ts";
import type { Dice } from "./dice.ts";
import type { Report } from "./fold.ts";
import { isShortLived } from "./plan-short-lived.ts";
import type { Observer } from "./observer.ts";
import type { Plan } from "./plan.ts";
import type { Member } from "./system.ts";

type Update = RecordUpdate<typeof SimStateSchema>;

/** What one client has been told of a tenant's events. */
interface EventWatch {
  readonly tenant: string;
  /** Events of each actor so far. */
  readonly counts: Map<string, number>;
  readonly process: Member["process"];
}

/** What one client has been told of a tenant's records: it comes and goes, and resumes where it was. */
interface RecordWatch {
  readonly tenant: string;
  readonly process: Member["process"];
  /** Newest sequence told of each key. */
  readonly told: Map<string, number>;
  cursor: number;
}

/** What one client was told, to be compared with the bucket. */
interface Check {
  readonly name: string;
  readonly sequence: number;
  readonly revision: bigint;
  readonly diary: string;
  readonly says: string;
}

/** Changes of one answer; far more than a schedule makes. */
const CHANGES_MAX = 10_000;
const RETRY_MS = 100;

/** Clients that follow events and records through all faults: nothing is missing, nothing comes twice. */
export class Watchers {
  readonly #plan: Plan;
  readonly #observer: Observer;
  readonly #dice: Dice;
  readonly #report: Report;
  readonly #events: EventWatch[] = [];
  readonly #records: RecordWatch[] = [];
  readonly #checks: Check[] = [];

  constructor(plan: Plan, observer: Observer, dice: Dice, report: Report) {
    this.#plan = plan;
    this.#observer = observer;
    this.#dice = dice;
    this.#report = report;
  }

  /** From now on the client follows everything, events from the first on. */
  add(member: Member): void {
    for (const tenant of this.#plan.tenants) {
      this.#followEvents(member, tenant);
      if (this.#plan.watchesRecords) void this.#followRecords(member, tenant);
    }
  }

  /** What a client has not been told yet; undefined: nothing. @param eventCounts by `tenant.key` */
  missing(eventCounts: ReadonlyMap<string, number>): string | undefined {
    for (const check of this.#checks.splice(0)) this.#check(check);
    for (const { tenant, counts, process } of this.#events) {
      for (const [name, count] of process.isAlive ? eventCounts : []) {
        const [owner, key = ""] = name.split(".");
        const got = counts.get(key) ?? 0;
        if (owner === tenant && !this.#isTold(tenant, key, got, count))
          return `${process.name}: ${name} ends at ${got} of ${count}`;
      }
    }
    for (const { tenant, told, process } of this.#records) {
      for (const [name, sequence] of process.isAlive ? this.#observer.newest : []) {
        const [kind, owner, key = ""] = name.split(".");
        if (isShortLived(key)) continue;
        if (kind === "sim" && owner === tenant && told.get(key) !== sequence)
          return `${process.name}: ${name} is at ${sequence}, told is ${told.get(key)}`;
      }
    }
    return undefined;
  }

  #followEvents({ client, process }: Member, tenant: string): void {
    const counts = new Map<string, number>();
    this.#events.push({ tenant, counts, process });
    client?.watchEvents(tenant, 1, ({ key, json }: StoredEvent) => {
      const { count = 0 } = JSON.parse(json) as { count?: number };
      const last = counts.get(key) ?? 0;
      counts.set(key, count);
      if (count <= last || !this.#isTold(tenant, key, last, count - 1))
        this.#onGap(process.name, `${tenant}.${key} ${count} after ${last}`);
    });
  }

  /** True if there is nothing between what a client has been told and what it should be told. */
  #isTold(tenant: string, key: string, got: number, count: number): boolean {
    if (got > count) return false;
    for (let next = got + 1; next <= count; next++)
      if (!this.#observer.mayBeDropped(tenant, key, next)) return false;
    return true;
  }

  #onGap(name: string, detail: string): void {
    this.#report("watches have no gap and no repeat", `${name}: ${detail}`);
  }

  /** As a reader does whose connection breaks: it watches, asks for what it has missed, and takes both in order. */
  async #followRecords(member: Member, tenant: string): Promise<void> {
    const { process } = member;
    const watch: RecordWatch = { tenant, process, told: new Map(), cursor: 0 };
    this.#records.push(watch);
    for (let breaks = this.#dice.integer(0, 2); ; breaks--) {
      const open = await this.#open(member, watch);
      if (breaks <= 0) return;
      await sleep(process.clock, this.#dice.integer(100, 900));
      open?.close();
      await sleep(process.clock, this.#dice.integer(1, 900));
    }
  }

  async #open({ client, process }: Member, watch: RecordWatch): Promise<Watch | undefined> {
    let held: Update[] | undefined = [];
    const open = client?.watch("sim", SimStateSchema, watch.tenant, undefined, (update) => {
      if (held === undefined) this.#tell(watch, update);
      else held.push(update);
    });
    await open?.ready;
    for (const update of await this.#missed({ client, process }, watch)) this.#tell(watch, update);
    for (const update of held) this.#tell(watch, update);
    held = undefined;
    return open;
  }

  async #missed(
    { client, process }: Pick<Member, "client" | "process">,
    { tenant, cursor }: RecordWatch,
  ): Promise<readonly Update[]> {
    for (;;) {
      try {
        const found = await client?.changesSince("sim", SimStateSchema, tenant, cursor, CHANGES_MAX);
        if (found !== undefined) return found;
        this.#report("a watch can be resumed", `${process.name}: ${tenant} from ${cursor}`);
        return [];
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        await sleep(process.clock, RETRY_MS);
      }
    }
  }

  #tell(watch: RecordWatch, { kind, tenant, key, state, revision, sequence }: Update): void {
    const { told, process } = watch;
    if (sequence <= (told.get(key) ?? 0)) return; // both found and told
    const name = `${kind}.${tenant}.${key}`;
    told.set(key, sequence);
    watch.cursor = Math.max(watch.cursor, sequence);
    const says = `${process.name}: ${name} ${sequence}, revision ${revision}`;
    this.#checks.push({ name, sequence, revision, diary: state?.diary.join() ?? "", says });
  }

  /** A client may hear of a change before the observer does. */
  #check({ name, sequence, revision, diary, says }: Check): void {
    const { fold, stored } = this.#observer;
    const found = stored.get(sequence);
    const isRight =
      found?.name === name &&
      fold.meta(found.version).revision === revision &&
      fold.state(found.version).diary.join() === diary;
    if (!isRight) this.#report("watches tell what is stored", says);
  }
}
