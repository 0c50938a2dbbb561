import { toBinary } from "@bufbuild/protobuf";
import { SimStateSchema, SimTotalsSchema } from "../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import type { ActorClient } from "../../actors/runtime/client.ts";
import { LIMITS } from "../../actors/runtime/limits.ts";
import { sleep } from "../../platform/clock.ts";
import type { Dice } from "./dice.ts";
import { LIST, simQueue } from "./diary-actor.ts";
import type { Report } from "./fold.ts";
import type { Observer } from "./observer.ts";
import type { Plan } from "./plan.ts";
import type { Member, System } from "./system.ts";

const POLL_MS = 100;
/** From the start of the workers: old leases run out, and every log is taken over. */
const TAKEN_MS_MAX = 20_000;
/** What a takeover derives again is stored by then: schedules may wait a second. */
const DERIVED_MS = 1_500;
const ENTRIES_MAX = 1_000;

/** What a restart needs. */
export interface RestartOptions {
  readonly plan: Plan;
  readonly system: System;
  readonly observer: Observer;
  readonly dice: Dice;
  readonly report: Report;
}

/** Everything ends and starts again while nobody asks for anything (I16): nothing is different afterwards. */
export class Restart {
  readonly #options: RestartOptions;

  constructor(options: RestartOptions) {
    this.#options = options;
  }

  async run({ client }: Member): Promise<void> {
    const { system, observer, dice } = this.#options;
    await this.#heardOut();
    const before = [...(await this.#told(client)), ...(await this.#stored())];
    const epochs = new Map([...observer.fold.logs.values()].map(({ name, epoch }) => [name, epoch]));
    await system.endAll(() => dice.chance(0.5));
    await sleep(observer.clock, dice.pick([0, LIMITS.leaseMs * 2]));
    const roles = ["worker", "worker", "analytics", "tasks", "client"] as const;
    for (const role of roles.slice(dice.integer(0, 1))) system.spawn(role);
    await this.#takenOver(epochs);
    await sleep(observer.clock, DERIVED_MS);
    const [member] = system.clients();
    if (member === undefined) throw new Error("a client has been started");
    this.#compare(before, [...(await this.#told(member.client)), ...(await this.#stored())]);
  }

  /** Schedules of timers that were cancelled fire, too, and tasks whose ack was lost are worked on again. */
  async #heardOut(): Promise<void> {
    const { system, observer } = this.#options;
    const { nats, topology } = system;
    const { inbox, tasks } = topology.streams;
    const [consumer, filter] = [
      topology.consumer(simQueue.name),
      topology.task(simQueue.name, "*", "*", "*"),
    ];
    const isWaiting = ({ subject }: { readonly subject: string }) => subject.startsWith("timer.");
    // A letter that is dealt with while older timers wait to be stored may come back: the watermark is behind both.
    await sleep(observer.clock, DERIVED_MS);
    for (;;) {
      await observer.bus.purgeAcked(tasks, consumer, filter).catch(() => 0); // nobody has asked for tasks
      if (nats.inspect(tasks).length === 0 && !nats.inspect(inbox).some(isWaiting)) return;
      await sleep(observer.clock, POLL_MS);
    }
  }

  async #takenOver(epochs: ReadonlyMap<string, bigint>): Promise<void> {
    const { observer, report } = this.#options;
    const { fold, clock } = observer;
    const untilMs = clock.monotonicMs() + TAKEN_MS_MAX;
    const waiting = () => [...fold.logs.values()].find(({ name, epoch }) => epoch === epochs.get(name));
    while (waiting() !== undefined && clock.monotonicMs() < untilMs) await sleep(clock, POLL_MS);
    const log = waiting();
    if (log !== undefined) report("a restart changes nothing", `nobody has taken ${log.name} over`);
  }

  /** What a client is told of everything. */
  async #told(client: ActorClient | undefined): Promise<readonly string[]> {
    const { plan, observer } = this.#options;
    const lines: string[] = [];
    if (client === undefined) return lines;
    for (const name of observer.fold.records.keys()) {
      const [kind = "", tenant = "", key = ""] = name.split(".");
      if (kind === "list") continue;
      const schema = kind === "sim" ? SimStateSchema : SimTotalsSchema;
      const { state, revision } = await client.read(kind, schema, { tenant, key });
      const text = state === undefined ? "nothing" : Buffer.from(toBinary(schema, state)).toString("base64");
      lines.push(`${name} at ${revision}: ${text}`);
      if (kind !== "sim") continue;
      const events = await client.history(kind, { tenant, key });
      lines.push(`${name} tells ${events.map(({ sequence, json }) => `${sequence} ${json}`).join()}`);
    }
    for (const tenant of plan.tenants) {
      const { entries } = await client.list(tenant, LIST, undefined, ENTRIES_MAX, () => true);
      lines.push(`${tenant} lists ${entries.map(({ id, createdMs }) => `${id} ${createdMs}`).join()}`);
    }
    return lines;
  }

  /** What is stored, but for that which a takeover writes. */
  async #stored(): Promise<readonly string[]> {
    const { system, observer } = this.#options;
    const { nats, topology, provider } = system;
    const { streams } = topology;
    const end = async (stream: string) =>
      `${stream} ends at ${(await observer.bus.status(stream)).lastSequence}`;
    const letters = nats.inspect(streams.dead).map(({ subject }) => subject);
    const events = [...observer.fold.logs.values()].reduce((sum, log) => sum + log.events.length, 0);
    const changes = [...observer.fold.logs.values()].reduce((sum, log) => sum + log.changes.length, 0);
    const calls = [...provider.charges.values()].reduce((sum, charge) => sum + charge.calls, 0);
    return [
      `dead letters: ${letters.toSorted().join()}`,
      `${changes} changes of records, ${events} events, ${observer.fold.tasks.size} tasks`,
      `the provider was called ${calls} times`,
      await end(streams.inbox),
      await end(streams.tasks),
    ];
  }

  #compare(before: readonly string[], after: readonly string[]): void {
    for (const [index, line] of before.entries()) {
      if (after[index] === line) continue;
      return this.#options.report("a restart changes nothing", `${line}; afterwards ${after[index]}`);
    }
  }
}
