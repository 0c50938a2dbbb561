import type { NatsConnection } from "@nats-io/nats-core";
import type { Append } from "./bus.ts";
import { appendLines, headerBlock } from "./message-jetstream.ts";

/** What the client sends its own commands through. */
interface Wire {
  readonly protocol: { sendCommand(command: Uint8Array): void };
}

const WHITE_SPACE = /\s/;
const CR = 13;
const LF = 10;

/** Header lines that make a message the part with that number of an atomic batch. */
export function batchLines(batchId: string, number: number): string {
  return `Nats-Batch-Id: ${batchId}\r\nNats-Batch-Sequence: ${number}\r\n`;
}

/**
 * Sends the first parts of a batch, which are not answered, as one command. The client's `publish` makes four pieces of
 * each message, puts them together again and asks the socket for each 32 kB: it costs three times as much.
 * @throws Error when a message is over the server's limit or no message at all; then nothing was sent
 */
export function sendParts(nc: NatsConnection, batchId: string, messages: readonly Append[]): void {
  const bytesMax = nc.info?.max_payload ?? Infinity;
  const heads: string[] = [];
  let size = 0;
  for (const message of messages) {
    const { subject, data, headers } = message;
    if (subject === "" || WHITE_SPACE.test(subject))
      throw new Error(`no message can have the subject ${subject}`);
    const block = headerBlock(headers, appendLines(message) + batchLines(batchId, heads.length + 1));
    const headerBytes = Buffer.byteLength(block, "utf8");
    const bytes = headerBytes + data.length;
    if (bytes > bytesMax) throw new Error(`the message has ${bytes} bytes, the server takes ${bytesMax}`);
    const command = `HPUB ${subject} ${headerBytes} ${bytes}\r\n`;
    heads.push(command + block);
    size += Buffer.byteLength(command, "utf8") + bytes + 2;
  }
  if (heads.length === 0) return;
  const commands = Buffer.allocUnsafeSlow(size);
  let at = 0;
  for (const [index, { data }] of messages.entries()) {
    at += commands.write(heads[index] ?? "", at, "utf8");
    commands.set(data, at);
    at += data.length;
    commands[at++] = CR;
    commands[at++] = LF;
  }
  (nc as unknown as Wire).protocol.sendCommand(commands);
}
