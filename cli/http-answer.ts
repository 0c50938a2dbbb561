/** A complete HTTP answer. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  /** Header `idempotent-replayed: true`: the same answer had been given before. */
  readonly isReplayed: boolean;
  /** Header `retry-after`, 0 without one. */
  readonly retryAfterMs: number;
  /** False if the server closes the connection after it. */
  readonly keepsAlive: boolean;
}

const HEAD_END = Buffer.from("\r\n\r\n");
const EMPTY = Buffer.alloc(0);
/** A gateway never sends more; a larger one is no answer of ours. */
const ANSWER_BYTES_MAX = 33_554_432;

/** Reads answers of one HTTP/1.1 connection, one after another. */
export class AnswerParser {
  #held: Buffer = EMPTY;

  /** True while no byte of the next answer has come. */
  get isEmpty(): boolean {
    return this.#held.length === 0;
  }

  /** @returns the answer when it is complete, `malformed` if it can be none */
  take(chunk: Buffer): HttpAnswer | "malformed" | undefined {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const headEnd = bytes.indexOf(HEAD_END);
    if (bytes.length > ANSWER_BYTES_MAX) return "malformed";
    this.#held = bytes;
    if (headEnd < 0) return undefined;
    const head = bytes.toString("latin1", 0, headEnd);
    const status = Number(head.slice(9, 12));
    if (!head.startsWith("HTTP/1.1 ") || !(status >= 100)) return "malformed";
    const headers = head.toLowerCase();
    const bodyStart = headEnd + HEAD_END.length;
    const length = headerOf(headers, "content-length");
    const body =
      length !== undefined
        ? wholeBody(bytes, bodyStart, Number(length))
        : headerOf(headers, "transfer-encoding") === "chunked"
          ? chunkedBody(bytes, bodyStart)
          : "";
    if (body === undefined) return undefined;
    this.#held = EMPTY;
    return {
      status,
      body,
      isReplayed: headerOf(headers, "idempotent-replayed") === "true",
      retryAfterMs: Number(headerOf(headers, "retry-after") ?? 0) * 1_000,
      keepsAlive: headerOf(headers, "connection") !== "close",
    };
  }
}

function headerOf(head: string, name: string): string | undefined {
  const mark = `\r\n${name}:`;
  const at = head.indexOf(mark);
  if (at < 0) return undefined;
  const end = head.indexOf("\r\n", at + mark.length);
  return head.slice(at + mark.length, end < 0 ? undefined : end).trim();
}

function wholeBody(bytes: Buffer, start: number, length: number): string | undefined {
  return bytes.length - start < length ? undefined : bytes.toString("utf8", start, start + length);
}

function chunkedBody(bytes: Buffer, start: number): string | undefined {
  const parts: Buffer[] = [];
  for (let at = start; ;) {
    const lineEnd = bytes.indexOf("\r\n", at, "latin1");
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(bytes.toString("latin1", at, lineEnd), 16);
    const next = lineEnd + 2 + size + 2;
    if (bytes.length < next) return undefined;
    if (size === 0)
      return parts.length === 1 ? parts[0]?.toString("utf8") : Buffer.concat(parts).toString("utf8");
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = next;
  }
}
