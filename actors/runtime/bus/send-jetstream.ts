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

/** Of a message without headers. */
const NO_LINES = headerBlock(undefined, "");
/** Header line by which the last part stores the batch. */
const COMMIT_LINE = "Nats-Batch-Commit: 1\r\n";

/**
 * Sends an atomic batch; its last part is answered.
 * @throws Error when a message is over the server's limit or no message at all; then nothing was sent
 */
export function sendBatch(
  nc: NatsConnection,
  batchId: string,
  messages: readonly Append[],
  replyTo: string,
): void {
  send(nc, messages, replyTo, (number) => {
    const isLast = number === messages.length;
    return `Nats-Batch-Id: ${batchId}\r\nNats-Batch-Sequence: ${number}\r\n${isLast ? COMMIT_LINE : ""}`;
  });
}

/** Sends one message that is answered. @throws Error as {@link sendBatch} does */
export function sendAlone(nc: NatsConnection, message: Append, replyTo: string): void {
  send(nc, [message], replyTo, () => "");
}

/**
 * All messages as one command. The client's `publish` makes four pieces of each, puts them together again and asks the
 * socket for each 32 kB: it costs three times as much. A command that is sent alone is not copied once more on its way
 * to the socket.
 */
function send(
  nc: NatsConnection,
  messages: readonly Append[],
  replyTo: string,
  linesOf: (number: number) => string,
): void {
  const bytesMax = nc.info?.max_payload ?? Infinity;
  const heads: string[] = [];
  let size = 0;
  for (const message of messages) {
    const { subject, data, headers } = message;
    if (subject === "" || WHITE_SPACE.test(subject))
      throw new Error(`no message can have the subject ${subject}`);
    const number = heads.length + 1;
    const block = headerBlock(headers, appendLines(message) + linesOf(number));
    const headerBytes = block === NO_LINES ? 0 : Buffer.byteLength(block, "utf8");
    const bytes = headerBytes + data.length;
    if (bytes > bytesMax) throw new Error(`the message has ${bytes} bytes, the server takes ${bytesMax}`);
    const to = number === messages.length ? `${subject} ${replyTo}` : subject;
    const head =
      headerBytes === 0 ? `PUB ${to} ${bytes}\r\n` : `HPUB ${to} ${headerBytes} ${bytes}\r\n${block}`;
    heads.push(head);
    size += Buffer.byteLength(head, "utf8") + data.length + 2;
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
