import {
  create,
  fromBinary,
  fromJsonString,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  AnalyticsStateSchema,
  type AnalyticsState,
} from "../proto/gen/tradewind/actors/analytics/v1/analytics_state_pb.ts";
import { OrderActor, type PlaceOrderSchema } from "../proto/gen/tradewind/actors/order/v1/order_actor_pb.ts";
import { OrderStateSchema, Wait } from "../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import {
  ProviderCallSchema,
  type ProviderCall,
  ProviderResultSchema,
} from "../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { PaymentStateSchema } from "../proto/gen/tradewind/actors/payment/v1/payment_state_pb.ts";
import type { Entry, Event, Task } from "../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { StockActor, StockStateSchema } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { ACTORS, PROJECTIONS } from "./kinds.ts";
import { Deferred, type ActorDefinition, type ProjectionContext } from "./runtime/index.ts";
import { ActorProbe } from "./runtime/testing.ts";

/** A task with the actor that waits for it. */
export interface OpenCall {
  readonly task: Task;
  readonly call: ProviderCall;
}

/**
 * Several actors of one tenant, in memory: each message arrives once, in the order of its sender, and between senders
 * in whatever order `pick` says. Tasks wait until a test settles them; timers fire when a test lets them.
 */
export class World {
  readonly events: Event[] = [];
  readonly calls: OpenCall[] = [];
  nowMs = 1_700_000_000_000;
  readonly #definitions: ReadonlyMap<string, ActorDefinition>;
  readonly #probes = new Map<string, ActorProbe>();
  /** Messages under way by sender and receiver. */
  readonly #ways = new Map<string, Entry[]>();
  readonly #seen = new Map<string, { sent: number; events: number; tasks: number }>();

  constructor(definitions: readonly ActorDefinition[]) {
    this.#definitions = new Map(definitions.map((definition) => [definition.kind, definition]));
  }

  probe(kind: string, key: string): ActorProbe {
    const name = `${kind}/${key}`;
    const known = this.#probes.get(name);
    if (known !== undefined) return known;
    const definition = this.#definitions.get(kind);
    if (definition === undefined) throw new Error(`there is no kind ${kind}`);
    const probe = new ActorProbe(definition, key, { nowMs: this.nowMs });
    this.#probes.set(name, probe);
    return probe;
  }

  state<S extends DescMessage>(schema: S, kind: string, key: string): MessageShape<S> {
    return this.probe(kind, key).stateAs(schema);
  }

  keys(kind: string): readonly string[] {
    return [...this.#probes.keys()]
      .filter((name) => name.startsWith(`${kind}/`))
      .map((name) => name.slice(kind.length + 1));
  }

  /** A command from outside; undefined while its answer is deferred. */
  request<M extends DescMethodUnary>(
    method: M,
    key: string,
    message: MessageInitShape<M["input"]>,
    requestId?: string,
  ): MessageShape<M["output"]> | undefined {
    const probe = this.#at(kindOfMethod(method), key);
    const reply = probe.request(method, message, requestId === undefined ? {} : { requestId });
    this.#collect(probe, kindOfMethod(method));
    return reply instanceof Deferred ? undefined : reply;
  }

  deliver<M extends DescMethodUnary>(method: M, key: string, message: MessageInitShape<M["input"]>): void {
    const probe = this.#at(kindOfMethod(method), key);
    probe.deliver(method, message);
    this.#collect(probe, kindOfMethod(method));
  }

  /** The last answer that an actor gave, deferred ones included. */
  answer<M extends DescMethodUnary>(method: M, key: string): MessageShape<M["output"]> | undefined {
    const result = this.probe(kindOfMethod(method), key).replies.at(-1)?.result;
    return result?.case === "reply"
      ? (fromBinary(method.output, result.value) as MessageShape<M["output"]>)
      : undefined;
  }

  armed(): readonly {
    readonly kind: string;
    readonly key: string;
    readonly name: string;
    readonly deadlineMs: number;
  }[] {
    return [...this.#probes].flatMap(([name, probe]) => {
      const [kind = "", key = ""] = name.split("/");
      return probe.timers.map((timer) => ({
        kind,
        key,
        name: timer.name,
        deadlineMs: Number(timer.deadlineMs),
      }));
    });
  }

  fire(kind: string, key: string, name: string): void {
    const probe = this.#at(kind, key);
    probe.fire(name);
    this.nowMs = Math.max(this.nowMs, probe.nowMs);
    this.#collect(probe, kind);
  }

  /** Settles the oldest open call, or that one. */
  settle(result: MessageInitShape<typeof ProviderResultSchema> | "gave_up", call = this.calls[0]): void {
    if (call === undefined) throw new Error("no call is open");
    if (result !== "gave_up") this.calls.splice(this.calls.indexOf(call), 1);
    const { kind, key, id } = call.task;
    const probe = this.#at(kind, key);
    probe.outcome(id, result === "gave_up" ? result : { schema: ProviderResultSchema, message: result });
    this.#collect(probe, kind);
  }

  /** Delivers one message; false if none is under way. */
  step(pick: (count: number) => number = () => 0): boolean {
    const ways = [...this.#ways.values()].filter((way) => way.length > 0);
    const entry = ways[pick(ways.length) % Math.max(1, ways.length)]?.shift();
    if (entry === undefined) return false;
    if (entry.kind === "list") return true;
    const probe = this.#at(entry.kind, entry.key);
    probe.deliverEntry(entry);
    this.#collect(probe, entry.kind);
    return true;
  }

  /** Delivers everything. */
  run(pick?: (count: number) => number): void {
    while (this.step(pick)) continue;
  }

  eventTypes(key: string): readonly string[] {
    return this.events
      .filter((event) => event.key === key)
      .map(({ type }) => type.slice(type.lastIndexOf(".") + 1));
  }

  #at(kind: string, key: string): ActorProbe {
    const probe = this.probe(kind, key);
    probe.nowMs = Math.max(probe.nowMs, this.nowMs);
    return probe;
  }

  #collect(probe: ActorProbe, kind: string): void {
    const name = `${kind}/${probe.key}`;
    const seen = this.#seen.get(name) ?? { sent: 0, events: 0, tasks: 0 };
    for (const entry of probe.sent.slice(seen.sent)) {
      const way = `${name}>${entry.kind}/${entry.key}`;
      this.#ways.set(way, [...(this.#ways.get(way) ?? []), entry]);
    }
    this.events.push(...probe.events.slice(seen.events));
    for (const task of probe.tasks.slice(seen.tasks)) {
      this.calls.push({ task, call: fromBinary(ProviderCallSchema, task.body) });
    }
    this.#seen.set(name, { sent: probe.sent.length, events: probe.events.length, tasks: probe.tasks.length });
  }
}

function kindOfMethod(method: DescMethodUnary): string {
  return method.parent.typeName.split(".")[2] ?? "";
}

/** Definite answers of a provider. */
export const APPROVED = { approved: true, providerRef: "ref-1" };
export const DECLINED = { approved: false, code: "card_declined", text: "no money" };

/** A line of 10.00 a unit by default, 19 % tax. */
export function line(productId: string, quantity: number, unitPrice = 1_000n) {
  return {
    productId,
    quantity,
    sku: productId,
    name: productId.toUpperCase(),
    unitPrice,
    currency: "EUR",
    taxRateBp: 1_900,
  };
}

/** All actors, and products with so many units on hand. */
export function worldWith(stocks: Readonly<Record<string, bigint>>): World {
  const world = new World(ACTORS);
  for (const [productId, onHand] of Object.entries(stocks))
    world.deliver(StockActor.method.open, productId, { onHand });
  return world;
}

export type PlaceInit = MessageInitShape<typeof PlaceOrderSchema>;

/** Places an order that brings its payment and waits until it is settled, unless the message says otherwise. */
export function place(world: World, orderId: string, message: PlaceInit): void {
  world.request(OrderActor.method.place, orderId, {
    customerId: "c1",
    wait: Wait.SETTLED,
    methodToken: "tok_ok",
    ...message,
  });
}

export const orderOf = (world: World, key: string) => world.state(OrderStateSchema, "order", key);
export const paymentOf = (world: World, key: string) => world.state(PaymentStateSchema, "payment", key);

/** Counters of a product. */
export function stockOf(world: World, key: string) {
  const { onHand, reserved, sold, returned } = world.state(StockStateSchema, "stock", key);
  return { onHand, reserved, sold, returned };
}

/** The projections, fed with events in order, one record map for the tenant. */
export class ProjectionWorld {
  readonly records = new Map<string, AnalyticsState>();
  readonly #handlers = new Map(
    PROJECTIONS.flatMap(({ handlers }) => handlers.map((handler) => [handler.event.typeName, handler])),
  );

  apply(events: readonly Event[]): void {
    for (const { type, json, tenant, kind, key, atMs } of events) {
      const handler = this.#handlers.get(type);
      if (handler === undefined) continue;
      const event = fromJsonString(handler.event, new TextDecoder().decode(json));
      const meta = { tenant, kind, key, atMs: Number(atMs) };
      const named = new Set(handler.keys(event, meta));
      const context: ProjectionContext<DescMessage> = {
        nowMs: meta.atMs,
        record: (name) => {
          if (!named.has(name)) throw new Error(`${type} did not name ${name}`);
          const record = this.records.get(name) ?? create(AnalyticsStateSchema);
          this.records.set(name, record);
          return record;
        },
        remove: (name) => void this.records.delete(name),
      };
      handler.apply(context, event, meta);
    }
  }
}
