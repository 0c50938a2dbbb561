import type { NatsConnection } from "@nats-io/nats-core";
import { describe, expect, it } from "vitest";
import { sendParts } from "./batch-jetstream.ts";

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

describe("the parts of a batch", () => {
  it("are one command after the other, lengths in bytes", () => {
    const { nc, sent } = connection();
    sendParts(nc, "b1", [message("ev.a", "{}", { "Tw-Type": "ü" }), message("ev.b", "")]);
    const headers = [
      "NATS/1.0\r\nTw-Type: ü\r\nNats-Batch-Id: b1\r\nNats-Batch-Sequence: 1\r\n\r\n",
      "NATS/1.0\r\nNats-Batch-Id: b1\r\nNats-Batch-Sequence: 2\r\n\r\n",
    ];
    const [first = 0, second = 0] = headers.map((text) => Buffer.byteLength(text));
    expect(sent).toEqual([
      `HPUB ev.a ${first} ${first + 2}\r\n${headers[0]}{}\r\nHPUB ev.b ${second} ${second}\r\n${headers[1]}\r\n`,
    ]);
  });

  it("are nothing where the batch holds one message", () => {
    const { nc, sent } = connection();
    sendParts(nc, "b1", []);
    expect(sent).toEqual([]);
  });

  it("are none where one of them cannot be sent", () => {
    const { nc, sent } = connection();
    const good = message("ev.a", "1");
    const bad = [
      message("ev.b", "x".repeat(PAYLOAD_MAX)),
      message("ev.b 1", ""),
      message("", ""),
      message("ev.b", "", { "Tw-Type": "a\r\nb: c" }),
    ];
    for (const other of bad) expect(() => sendParts(nc, "b1", [good, other])).toThrow(Error);
    expect(sent).toEqual([]);
  });
});
