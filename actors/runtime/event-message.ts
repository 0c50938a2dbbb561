import type { Headers, StoredMessage } from "./bus/bus.ts";
import type { StoredEvent } from "./client.ts";
import { HEADER } from "./headers.ts";
import { asBuffer } from "./codec/as-buffer.ts";

/** Of the types that this process knows: as many as it has in its contracts. */
const names = new Map<string, string>();

/** `tradewind.actors.order.v1.OrderPlaced` is published as `order_placed`. */
export function eventName(type: string): string {
  let name = names.get(type);
  if (name === undefined) {
    name = nameOf(type);
    names.set(type, name);
  }
  return name;
}

function nameOf(type: string): string {
  const name = type.slice(type.lastIndexOf(".") + 1);
  return name.replace(/(?<!^)([A-Z])/g, "_$1").toLowerCase();
}

/** What {@link eventHeaders} writes, in its order. */
export const EVENT_HEADERS: readonly string[] = [
  HEADER.type,
  HEADER.log,
  HEADER.sequence,
  HEADER.time,
  HEADER.trace,
];

/** What goes beside the bytes of an event. */
export interface EventHead {
  readonly type: string;
  /** `<group>.<log>` of the commit that it comes from. */
  readonly log: string;
  readonly sequence: number;
  /** Among the events of the commit. */
  readonly index: number;
  readonly atMs: bigint;
  /** Empty if there is none. */
  readonly trace: string;
}

export function eventHeaders({ type, log, sequence, index, atMs, trace }: EventHead): Headers {
  const headers: Record<string, string> = {
    [HEADER.type]: type,
    [HEADER.log]: log,
    [HEADER.sequence]: `${sequence}.${index}`,
    [HEADER.time]: String(atMs),
  };
  if (trace !== "") headers[HEADER.trace] = trace;
  return headers;
}

/** Tenant, kind and key of an event, whatever its subject begins with. */
export function eventAddress(subject: string): readonly [tenant: string, kind: string, key: string] {
  const nameDot = subject.lastIndexOf(".");
  const keyDot = subject.lastIndexOf(".", nameDot - 1);
  const kindDot = subject.lastIndexOf(".", keyDot - 1);
  const tenantDot = subject.lastIndexOf(".", kindDot - 1);
  return [
    subject.slice(tenantDot + 1, kindDot),
    subject.slice(kindDot + 1, keyDot),
    subject.slice(keyDot + 1, nameDot),
  ];
}

/** Reads a message of EVENTS. */
export function readEvent({ subject, sequence, timestampMs, headers, data }: StoredMessage): StoredEvent {
  const [tenant, kind, key] = eventAddress(subject);
  const atMs = Number(headers[HEADER.time] ?? timestampMs);
  const json = asBuffer(data).toString("utf8");
  return { sequence, tenant, kind, key, type: headers[HEADER.type] ?? "", json, atMs };
}

/**
 * J15: an event may be stored again when its log changes owners. Keeps the last place of each log and says which
 * messages are repeats.
 */
export class EventPlaces {
  readonly #last = new Map<string, { sequence: number; index: number }>();

  /** True the first time. Messages without a place are always new. */
  isNew({ headers }: StoredMessage): boolean {
    const log = headers[HEADER.log];
    const place = headers[HEADER.sequence];
    if (log === undefined || place === undefined) return true;
    const dot = place.indexOf(".");
    const sequence = Number(dot < 0 ? place : place.slice(0, dot));
    const index = dot < 0 ? 0 : Number(place.slice(dot + 1));
    const last = this.#last.get(log);
    if (last === undefined) {
      this.#last.set(log, { sequence, index });
      return true;
    }
    if (sequence < last.sequence || (sequence === last.sequence && index <= last.index)) return false;
    last.sequence = sequence;
    last.index = index;
    return true;
  }
}
