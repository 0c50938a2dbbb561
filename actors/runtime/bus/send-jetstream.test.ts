import type { NatsConnection } from "@nats-io/nats-core";
import { describe, expect, it } from "vitest";
import { sendAlone, sendBatch } from "./send-jetstream.ts";

const PAYLOAD_MAX = 200;

function connection() {
  const sent: string[] = [];
  const sendCommand = (command: Uint8Array) => sent.push(Buffer.from(command).toString("utf8"));
  const nc = { info: { max_payload: PAYLOAD_MAX }, protocol: { sendCommand } } as unknown as NatsConnection;
  return { nc, sent };
}

const message = (subject: string, text: string, headers?: Record<string, string>) => ({
  subject,
  data: Buffer.from(text),
  ...(headers && { headers }),
});

describe("a batch", () => {
  it("is one command after the other, lengths in bytes, and its last part is answered", () => {
    const { nc, sent } = connection();
    sendBatch(nc, "b1", [message("ev.a", "{}", { "Tw-Type": "ü" }), message("ev.b", "")], "_INBOX.1");
    const headers = [
      "NATS/1.0\r\nTw-Type: ü\r\nNats-Batch-Id: b1\r\nNats-Batch-Sequence: 1\r\n\r\n",
      "NATS/1.0\r\nNats-Batch-Id: b1\r\nNats-Batch-Sequence: 2\r\nNats-Batch-Commit: 1\r\n\r\n",
    ];
    const [first = 0, second = 0] = headers.map((text) => Buffer.byteLength(text));
    expect(sent).toEqual([
      `HPUB ev.a ${first} ${first + 2}\r\n${headers[0]}{}\r\n` +
        `HPUB ev.b _INBOX.1 ${second} ${second}\r\n${headers[1]}\r\n`,
    ]);
  });

  it("is not sent where one of its messages cannot be", () => {
    const { nc, sent } = connection();
    const good = message("ev.a", "1");
    const bad = [
      message("ev.b", "x".repeat(PAYLOAD_MAX)),
      message("ev.b 1", ""),
      message("", ""),
      message("ev.b", "", { "Tw-Type": "a\r\nb: c" }),
    ];
    for (const other of bad) expect(() => sendBatch(nc, "b1", [good, other], "_INBOX.1")).toThrow(Error);
    expect(sent).toEqual([]);
  });
});

it("sends a message alone with its headers, or without any", () => {
  const { nc, sent } = connection();
  sendAlone(nc, { ...message("log.a", "ü"), expectLastSequence: 7 }, "_INBOX.1");
  sendAlone(nc, message("log.a", ""), "_INBOX.2");
  const headers = "NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: 7\r\n\r\n";
  expect(sent).toEqual([
    `HPUB log.a _INBOX.1 ${headers.length} ${headers.length + 2}\r\n${headers}ü\r\n`,
    "PUB log.a _INBOX.2 0\r\n\r\n",
  ]);
});
