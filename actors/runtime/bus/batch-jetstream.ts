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
function batchLines(batchId: string, number: number): string {
  return `Nats-Batch-Id: ${batchId}\r\nNats-Batch-Sequence: ${number}\r\n`;
}

/** Header line by which the last part stores the batch. */
const COMMIT_LINE = "Nats-Batch-Commit: 1\r\n";

/**
 * Sends a batch as one command; its last part is answered. The client's `publish` makes four pieces of each message,
 * puts them together again and asks the socket for each 32 kB: it costs three times as much. What is sent alone is not
 * copied once more on its way to the socket.
 * @throws Error when a message is over the server's limit or no message at all; then nothing was sent
 */
export function sendBatch(
  nc: NatsConnection,
  batchId: string,
  messages: readonly Append[],
  replyTo: string,
): void {
  const bytesMax = nc.info?.max_payload ?? Infinity;
  const heads: string[] = [];
  let size = 0;
  for (const message of messages) {
    const { subject, data, headers } = message;
    if (subject === "" || WHITE_SPACE.test(subject))
      throw new Error(`no message can have the subject ${subject}`);
    const number = heads.length + 1;
    const isLast = number === messages.length;
    const lines = appendLines(message) + batchLines(batchId, number) + (isLast ? COMMIT_LINE : "");
    const block = headerBlock(headers, lines);
    const headerBytes = Buffer.byteLength(block, "utf8");
    const bytes = headerBytes + data.length;
    if (bytes > bytesMax) throw new Error(`the message has ${bytes} bytes, the server takes ${bytesMax}`);
    const command = `HPUB ${subject} ${isLast ? `${replyTo} ` : ""}${headerBytes} ${bytes}\r\n`;
    heads.push(command + block);
    size += Buffer.byteLength(command, "utf8") + bytes + 2;
  }
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
