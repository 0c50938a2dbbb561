import type { Msg } from "@nats-io/nats-core";
import { describe, expect, it } from "vitest";
import { EVENT_HEADERS } from "../event-message.ts";
import { deliveryInfo, headerParser, ownHeaders } from "./message-jetstream.ts";

const headersOf = (...lines: readonly string[]) => {
  const data = Buffer.from(`NATS/1.0\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n{"body":1}`);
  const msg = { _rdata: data, _msg: { hdr: data.length - '{"body":1}'.length } } as unknown as Msg;
  const headers = ownHeaders(msg, headerParser(EVENT_HEADERS));
  expect(ownHeaders(msg)).toEqual(headers);
  return headers;
};

describe("the headers of a message", () => {
  const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const event = ["Tw-Type: a.v1.Placed", "Tw-Log: core.0", "Tw-Seq: 369.1", "Tw-Time: 1795855420655"];
  const own = { "Tw-Type": "a.v1.Placed", "Tw-Log": "core.0", "Tw-Seq": "369.1", "Tw-Time": "1795855420655" };

  it("are those that its sender set, in whatever order", () => {
    const batch = ["Nats-Batch-Id: b", "Nats-Batch-Sequence: 7"];
    for (const lines of [event, [...event, ...batch], [...batch, ...event], event.toReversed()])
      expect(headersOf(...lines)).toEqual(own);
    for (const lines of [
      [...event, `traceparent: ${trace}`, ...batch],
      [`traceparent: ${trace}`, ...event],
    ])
      expect(headersOf(...lines)).toEqual({ ...own, traceparent: trace });
  });

  it("are all there where an event has more of them", () => {
    expect(headersOf(...event, "Tw-More: x:y")).toEqual({ ...own, "Tw-More": "x:y" });
    expect(headersOf(...event, "Nats-Batch-Id: b", "Tw-More: z")).toEqual({ ...own, "Tw-More": "z" });
    expect(headersOf(...event, "Nats-Scheduler: s")).toEqual({ ...own, "Nats-Scheduler": "s" });
  });
});

describe("the reply subject of a delivery", () => {
  const told = {
    attempt: 2,
    streamSequence: 31,
    consumerSequence: 4,
    timestampMs: 1795855420655,
    pending: 17,
  };

  it("tells the same in both of its forms", () => {
    const numbers = "2.31.4.1795855420655999999.17";
    expect(deliveryInfo(`$JS.ACK.EVENTS.reader.${numbers}`)).toEqual(told);
    expect(deliveryInfo(`$JS.ACK.hub.ACCOUNT.EVENTS.reader.${numbers}.k3Jd`)).toEqual(told);
    expect(deliveryInfo(`$JS.ACK._.ACCOUNT.EVENTS.reader.${numbers}`)).toEqual(told);
  });

  it("is that of something else where it has another form", () => {
    for (const reply of ["", "_INBOX.a", "$JS.FC.EVENTS.reader.x", "$JS.ACK.EVENTS.reader.1.2"])
      expect(deliveryInfo(reply)).toBeUndefined();
  });
});
