import {
  NotedSchema,
  SimActor,
  SimStateSchema,
  SimTotalsSchema,
} from "../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import type { ActorClient } from "../../actors/runtime/client.ts";
import { BusError } from "../../actors/runtime/bus/bus.ts";
import { CallError } from "../../actors/runtime/client.ts";
import { DomainError } from "../../actors/runtime/domain-error.ts";
import { LIST } from "./diary-actor.ts";
import type { Report } from "./fold.ts";
import type { Plan } from "./plan.ts";
import type { Member } from "./system.ts";

/** A tenant that has nothing; its name is the beginning of another one's. */
const STRANGER = "acm";
const COUNT_MAX = 100;
const CALL_MS_MAX = 1_500;

/** Asks for what is others', by every way that there is (I10): a stranger is told of nothing, and changes nothing. */
export class Strangers {
  readonly #plan: Plan;
  readonly #report: Report;
  readonly #watching = new WeakSet<ActorClient>();
  #calls = 0;

  constructor(plan: Plan, report: Report) {
    this.#plan = plan;
    this.#report = report;
  }

  /** Looks once, and listens from then on. */
  async look({ client }: Member): Promise<void> {
    if (client === undefined) return;
    this.#watch(client);
    const ways = [
      this.#read(client),
      this.#command(client),
      this.#list(client),
      this.#scan(client),
      this.#events(client),
      this.#letters(client),
    ];
    for (const way of await Promise.allSettled(ways)) {
      if (way.status === "fulfilled") continue;
      const reason: unknown = way.reason;
      if (!(reason instanceof CallError || reason instanceof BusError))
        this.#report("errors are CallError or DomainError", String(reason));
    }
  }

  #told(what: string, found: unknown): void {
    this.#report("tenants are apart", `a stranger is told ${what}: ${String(found)}`);
  }

  /** With reads of the others in the same turn: they share questions to the owners. */
  async #read(client: ActorClient): Promise<void> {
    const { tenants, keys } = this.#plan;
    const readAll = (tenant: string) => client.readMany("sim", SimStateSchema, tenant, keys);
    const [totals, own] = await Promise.all([
      client.read("analytics", SimTotalsSchema, { tenant: STRANGER, key: "totals" }),
      readAll(STRANGER),
      ...tenants.map(readAll),
    ]);
    if (totals.state !== undefined) this.#told("totals", totals.state.count);
    for (const [key, { state }] of own)
      if (state !== undefined) this.#told(`the state of ${key}`, state.diary);
  }

  async #command(client: ActorClient): Promise<void> {
    const [key = ""] = this.#plan.keys;
    const op = `stranger${this.#calls++}`;
    try {
      const options = { requestId: op, timeoutMs: CALL_MS_MAX };
      const { message } = await client.call(SimActor.method.run, { tenant: STRANGER, key }, { op }, options);
      this.#told(`that ${key} has done its command`, message.op);
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      if (error.reason !== "NOT_FOUND" && error.reason !== "CRASH_LOOP") this.#told(`about ${key}`, error);
    }
  }

  async #list(client: ActorClient): Promise<void> {
    const { entries } = await client.list(STRANGER, LIST, undefined, COUNT_MAX, () => true);
    if (entries.length > 0)
      this.#told(
        "a list",
        entries.map(({ id }) => id),
      );
    const strange = (await client.tenantsOf(LIST)).filter((tenant) => !this.#plan.tenants.includes(tenant));
    if (strange.length > 0) this.#told("to have a list", strange);
  }

  /** What it has been refused leaves records without a state. */
  async #scan(client: ActorClient): Promise<void> {
    for (const update of await client.scan("sim", SimStateSchema, STRANGER, "", COUNT_MAX))
      this.#told("by a scan", update.key);
    const changes = await client.changesSince("sim", SimStateSchema, STRANGER, 0, COUNT_MAX);
    for (const { tenant, key, state } of changes ?? [])
      if (tenant !== STRANGER || state !== undefined) this.#told("of a change", `${tenant}.${key}`);
  }

  async #events(client: ActorClient): Promise<void> {
    for (const key of this.#plan.keys) {
      const address = { tenant: STRANGER, key };
      const [event] = await client.history("sim", address);
      const last = event ?? (await client.lastEvent("sim", address, NotedSchema));
      if (last !== undefined) this.#told("an event", `${last.tenant}.${last.key}`);
    }
  }

  async #letters(client: ActorClient): Promise<void> {
    for (const { id, tenant } of await client.listDeadLetters(STRANGER, COUNT_MAX))
      if (tenant !== STRANGER) this.#told("a dead letter", id);
  }

  #watch(client: ActorClient): void {
    if (this.#watching.has(client)) return;
    this.#watching.add(client);
    client.watchEvents(STRANGER, 1, ({ tenant, key }) => this.#told("an event", `${tenant}.${key}`));
    client.watch("sim", SimStateSchema, STRANGER, undefined, ({ tenant, key, state }) => {
      if (tenant !== STRANGER || state !== undefined) this.#told("of a change", `${tenant}.${key}`);
    });
  }
}
