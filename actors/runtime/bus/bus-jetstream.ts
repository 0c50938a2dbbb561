import type { NatsConnection } from "@nats-io/nats-core";
import { type Clock, systemClock } from "../../../platform/clock.ts";
import type { Logger } from "../../../platform/log.ts";
import { type Random, systemRandom } from "../../../platform/random.ts";
import { append, appendBatch } from "./append-jetstream.ts";
import type { Bus, CoreMessage, NoAnswer, Subscription } from "./bus.ts";
import { ownHeaders, toHeaders } from "./message-jetstream.ts";
import { JetStreamPull } from "./pull-jetstream.ts";
import { get, last, lastMany, purge, purgeAcked, range, status, subjects } from "./queries-jetstream.ts";
import { JetStreamReader } from "./reader-jetstream.ts";
import { guard, Requests } from "./requests-jetstream.ts";
import { StreamEnds } from "./stream-ends-jetstream.ts";

export interface JetStreamBusOptions {
  readonly nc: NatsConnection;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** A bus that also ends: readers and subscriptions are closed, the connection stays the caller's. */
export interface JetStreamBus extends Bus {
  close(): void;
}

/** The bus over one connection. It heals over lost connections and restarts of the server by itself. */
export function createJetStreamBus(options: JetStreamBusOptions): JetStreamBus {
  const { nc, log, clock = systemClock, random = systemRandom } = options;
  const requests = new Requests(nc, clock);
  const open = new Set<Subscription>();
  const parts = { requests, ends: new StreamEnds(requests), random, log: log.child({ component: "bus" }) };
  const keep = (inner: Subscription): Subscription => {
    const outer: Subscription = {
      close: () => {
        if (open.delete(outer)) inner.close();
      },
    };
    open.add(outer);
    return outer;
  };
  return {
    publish: (subject, data, headers, replyTo) => {
      if (!requests.isConnected) return;
      const all = toHeaders(headers);
      nc.publish(subject, data, { ...(all && { headers: all }), ...(replyTo && { reply: replyTo }) });
    },
    subscribe: (subject, onMessage, { queue } = {}) => keep(subscribe(nc, subject, onMessage, queue)),
    request: (subject, data, timeoutMs) => request(requests, subject, data, timeoutMs),
    append: (message) => append(requests, message),
    appendBatch: (messages) => appendBatch(requests, random, messages),
    last: (stream, subject) => last(requests, stream, subject),
    get: (stream, sequence) => get(requests, stream, sequence),
    lastMany: (stream, list) => lastMany(requests, stream, list),
    range: (stream, filter, from, count) => range(requests, stream, filter, from, count),
    subjects: (stream, filter) => subjects(requests, stream, filter),
    status: (stream) => status(requests, stream),
    purge: (stream, filter, belowSequence) => purge(requests, stream, filter, belowSequence),
    purgeAcked: (stream, consumer, filter) => purgeAcked(requests, stream, consumer, filter),
    read: (read) => keep(new JetStreamReader(parts, read)),
    pull: (pull) => keep(new JetStreamPull(parts, pull)),
    isConnected: () => requests.isConnected,
    close: () => {
      for (const subscription of open) subscription.close();
      requests.close();
    },
  };
}

function subscribe(
  nc: NatsConnection,
  subject: string,
  onMessage: (message: CoreMessage) => void,
  queue: string | undefined,
): Subscription {
  let isClosed = false;
  const subscription = nc.subscribe(subject, {
    ...(queue === undefined ? {} : { queue }),
    callback: (error, msg) => {
      if (isClosed || error !== null) return;
      const { data, reply: replyTo = "" } = msg;
      guard(() => onMessage({ subject: msg.subject, data, headers: ownHeaders(msg), replyTo }));
    },
  });
  return {
    close: () => {
      isClosed = true;
      if (!nc.isClosed()) subscription.unsubscribe();
    },
  };
}

function request(
  requests: Requests,
  subject: string,
  data: Uint8Array,
  timeoutMs: number,
): Promise<CoreMessage | NoAnswer> {
  return new Promise((resolve) => {
    requests.ask(subject, data, timeoutMs, {
      onMessage: (msg) => {
        resolve({
          subject: msg.subject,
          data: msg.data,
          headers: ownHeaders(msg),
          replyTo: msg.reply ?? "",
        });
        return true;
      },
      onSilence: (why) => resolve(why === "no responders" ? "nobody" : "silence"),
    });
  });
}
