import type { ActorClient } from "../../actors/runtime/client.ts";
import { LIMITS } from "../../actors/runtime/limits.ts";
import { sleep } from "../../platform/clock.ts";
import type { Dice } from "./dice.ts";
import { LIST } from "./diary-actor.ts";
import type { Report } from "./fold.ts";
import type { CallOp, Plan } from "./plan.ts";
import type { Member, System } from "./system.ts";

/** Full pages looked at at once. */
const PAGES_MAX = 4;
const PAGE_ENTRIES_MAX = 3;
const ENTRIES_MAX = 1_000;
/** Until a trim that is durable has been applied. */
const APPLIED_MS = 400;
const ROUNDS_MAX = 20;

/** True for the key of an actor that leaves its list when somebody looks. */
export function leavesList(key: string): boolean {
  return /^a\d*[02468]$/.test(key);
}

/** Actors that are opened to be in a list, some of which leave it while others come. */
export function planArchive(dice: Dice, plan: Plan): Pick<Plan, "ops" | "limits" | "trimsMs"> {
  const tenant = dice.pick(plan.tenants);
  const opens = Array.from({ length: dice.integer(6, 14) }, (_, i): CallOp => {
    const script = { op: `a${i}`, list: true };
    const at = { atMs: dice.integer(100, plan.healMs), tenant, key: `a${i}` };
    return { type: "call", ...at, method: "open", script, isTwice: false, isPatient: true, timeoutMs: 1_500 };
  });
  const ops = [...plan.ops, ...opens].toSorted((a, b) => a.atMs - b.atMs);
  // Half a commit in the bucket, and no owner to say so: then a walk may miss a page.
  const whole = { batchMessagesMax: LIMITS.batchMessagesMax };
  const limits = { ...plan.limits, ...whole, listPageEntriesMax: dice.integer(1, PAGE_ENTRIES_MAX) };
  const trimsMs = Array.from({ length: dice.integer(1, 4) }, () => dice.integer(400, plan.healMs));
  return { ops, limits, trimsMs };
}

/** What takes old entries from lists: a run that is cut off is taken up by the next one, and two at once do no harm. */
export class Archive {
  readonly #plan: Plan;
  readonly #system: System;
  readonly #report: Report;
  /** What each client has found in the lists of each tenant. */
  readonly #found = new WeakMap<ActorClient, Map<string, Set<string>>>();

  constructor(plan: Plan, system: System, report: Report) {
    this.#plan = plan;
    this.#system = system;
    this.#report = report;
  }

  /** Asks for all that may leave the full pages. @returns how many entries that is @throws CallError, BusError */
  async trim(client: ActorClient): Promise<number> {
    const { logs } = this.#system.topology.group("core");
    let count = 0;
    for (const tenant of this.#plan.tenants) {
      for (let log = 0; log < logs; log++) {
        const pages = await client.oldestPages(tenant, LIST, log, 0, PAGES_MAX);
        const trims = pages.map(({ page, entries }) => {
          // Where nothing leaves, what stays moves on, so that the pages behind come to their turn.
          return { page, ids: entries.map(({ id }) => id).filter(leavesList) };
        });
        const full = pages.length < PAGES_MAX ? trims.slice(0, -1) : trims; // the last one may be open
        for (const trim of full) count += trim.ids.length;
        await Promise.all(full.map((trim) => client.trimList(tenant, LIST, log, trim)));
      }
    }
    return count;
  }

  /** Trims while it reads: what a client has once found in a list, and may not leave, it finds again. */
  async work(client: ActorClient): Promise<void> {
    await this.#look(client);
    await Promise.all([this.#look(client), this.trim(client), this.#look(client)]);
    await this.#look(client);
  }

  async #look(client: ActorClient): Promise<void> {
    for (const tenant of this.#plan.tenants) {
      const known = [...this.#seen(client, tenant)];
      const { entries } = await client.list(tenant, LIST, undefined, ENTRIES_MAX, () => true);
      const found = entries.map(({ id }) => id).filter((id) => !leavesList(id));
      const missing = known.find((id) => !found.includes(id));
      if (missing !== undefined)
        this.#report("lists keep what stays", `${tenant}: ${missing} is not there any more`);
      if (new Set(found).size < found.length)
        this.#report("lists have each entry once", `${tenant}: ${found.join(" ")}`);
      for (const id of found) this.#seen(client, tenant).add(id);
    }
  }

  #seen(client: ActorClient, tenant: string): Set<string> {
    const byTenant = this.#found.get(client) ?? new Map<string, Set<string>>();
    this.#found.set(client, byTenant);
    const seen = byTenant.get(tenant) ?? new Set();
    byTenant.set(tenant, seen);
    return seen;
  }

  /** At rest: all leave that may, nothing else does, and each way through the list tells the same. */
  async finish({ client, process }: Member): Promise<void> {
    if (client === undefined) return;
    for (let rounds = 0; (await this.trim(client)) > 0; rounds++) {
      if (rounds === ROUNDS_MAX)
        return this.#report("lists can be trimmed", "entries that were trimmed stay");
      await sleep(process.clock, APPLIED_MS);
    }
    for (const tenant of this.#plan.tenants) await this.#checkPaging(client, tenant);
  }

  /** Page by page, a list is what it is as a whole. */
  async #checkPaging(client: ActorClient, tenant: string): Promise<void> {
    const whole = await client.list(tenant, LIST, undefined, ENTRIES_MAX, () => true);
    const names: string[] = [];
    for (let after: typeof whole.next, isMore = true; isMore; isMore = after !== undefined) {
      const page = await client.list(tenant, LIST, after, LIMITS.listPageEntriesMax, () => true);
      names.push(...page.entries.map(({ id }) => id));
      after = page.next;
    }
    const expected = whole.entries.map(({ id }) => id);
    if (names.join() !== expected.join())
      this.#report(
        "lists are the same page by page",
        `${tenant}: ${names.join(" ")}, not ${expected.join(" ")}`,
      );
  }
}
