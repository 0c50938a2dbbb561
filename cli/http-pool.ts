import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { AnswerParser, type HttpAnswer } from "./http-answer.ts";

export type { HttpAnswer } from "./http-answer.ts";

/** No complete answer came. Whether the request was carried out is unknown: repeat it with its key. */
export class HttpPoolError extends Error {
  override readonly name = "HttpPoolError";
  /** `ECONNREFUSED`, `ECONNRESET`, `TIMEOUT`, `CLOSED`, … */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface HttpPoolOptions {
  readonly url: string;
  /** Requests beyond it wait for a connection, in order. */
  readonly connectionsMax: number;
  /** Silence after which a request fails. */
  readonly timeoutMs: number;
}

interface Job {
  readonly text: string;
  readonly resolve: (answer: HttpAnswer) => void;
  readonly reject: (error: HttpPoolError) => void;
  retries: number;
}

/** A connection that the server closed meanwhile fails at its next use; that one request is sent again elsewhere. */
const STALE_RETRIES_MAX = 1;

/**
 * Posts JSON over kept-alive HTTP/1.1 connections, one request at a time on each. Costs about a third of
 * `node:http`'s
 * client, which matters where the generator of the load shares its cores with what it measures.
 */
export class HttpPool {
  readonly #options: HttpPoolOptions;
  readonly #url: URL;
  readonly #head: string;
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();
  readonly #waiting: Job[] = [];
  #isClosed = false;

  /** @throws TypeError if the URL is none, RangeError if it is not http(s) */
  constructor(options: HttpPoolOptions) {
    this.#options = options;
    this.#url = new URL(options.url);
    if (!/^https?:$/.test(this.#url.protocol)) throw new RangeError(`${options.url} is no http URL`);
    this.#head = ` HTTP/1.1\r\nhost: ${this.#url.host}\r\ncontent-type: application/json\r\n`;
  }

  /** @throws HttpPoolError */
  post(path: string, body: string, idempotencyKey?: string): Promise<HttpAnswer> {
    const key = idempotencyKey === undefined ? "" : `idempotency-key: ${idempotencyKey}\r\n`;
    const length = Buffer.byteLength(body);
    const text = `POST ${path}${this.#head}${key}content-length: ${length}\r\n\r\n${body}`;
    return new Promise((resolve, reject) => this.#run({ text, resolve, reject, retries: 0 }));
  }

  /** Ends every connection; what is under way fails with CLOSED. */
  close(): void {
    this.#isClosed = true;
    for (const connection of this.#all) connection.end();
    for (const job of this.#waiting.splice(0))
      job.reject(new HttpPoolError("CLOSED", "the client was closed"));
  }

  #run(job: Job): void {
    if (this.#isClosed) return job.reject(new HttpPoolError("CLOSED", "the client was closed"));
    const mayOpen = this.#all.size < this.#options.connectionsMax;
    const connection = this.#idle.pop() ?? (mayOpen ? this.#open() : undefined);
    if (connection === undefined) this.#waiting.push(job);
    else connection.send(job);
  }

  #open(): Connection {
    const connection: Connection = new Connection(this.#url, this.#options.timeoutMs, {
      idle: () => {
        const next = this.#waiting.shift();
        if (next === undefined) this.#idle.push(connection);
        else connection.send(next);
      },
      gone: (job, code, isStale) => {
        this.#all.delete(connection);
        const at = this.#idle.indexOf(connection);
        if (at >= 0) this.#idle.splice(at, 1);
        if (job === undefined) return;
        if (isStale && job.retries < STALE_RETRIES_MAX && !this.#isClosed) {
          job.retries++;
          this.#run(job);
        } else job.reject(new HttpPoolError(code, `no answer from ${this.#url.origin}: ${code}`));
        const next = this.#waiting.shift();
        if (next !== undefined) this.#run(next);
      },
    });
    this.#all.add(connection);
    return connection;
  }
}

interface ConnectionEvents {
  idle(): void;
  gone(job: Job | undefined, code: string, isStale: boolean): void;
}

class Connection {
  readonly #socket: Socket;
  readonly #events: ConnectionEvents;
  readonly #parser = new AnswerParser();
  #job: Job | undefined;
  #answers = 0;
  #isGone = false;

  constructor(url: URL, timeoutMs: number, events: ConnectionEvents) {
    this.#events = events;
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const isTls = url.protocol === "https:";
    const port = url.port === "" ? (isTls ? 443 : 80) : Number(url.port);
    this.#socket = isTls
      ? connectTls({ host, port, servername: host, ALPNProtocols: ["http/1.1"] })
      : connectTcp({ host, port, noDelay: true });
    this.#socket.setTimeout(timeoutMs);
    this.#socket.on("data", (chunk) => this.#take(chunk));
    this.#socket.on("timeout", () => {
      if (this.#job !== undefined) this.#lose("TIMEOUT");
    });
    this.#socket.on("error", (error: NodeJS.ErrnoException) => this.#lose(error.code ?? error.message));
    this.#socket.on("close", () => this.#lose("ECONNRESET"));
  }

  send(job: Job): void {
    this.#job = job;
    this.#socket.write(job.text);
  }

  end(): void {
    this.#lose("CLOSED");
  }

  #take(chunk: Buffer): void {
    const answer = this.#parser.take(chunk);
    if (answer === undefined) return;
    const job = this.#job;
    this.#job = undefined;
    if (answer === "malformed" || job === undefined) {
      this.#job = job;
      return this.#lose("MALFORMED");
    }
    this.#answers++;
    if (answer.keepsAlive) this.#events.idle();
    else this.#lose("ECONNRESET");
    job.resolve(answer);
  }

  #lose(code: string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    const job = this.#job;
    this.#job = undefined;
    this.#socket.destroy();
    const isStale = code !== "TIMEOUT" && code !== "CLOSED" && this.#answers > 0 && this.#parser.isEmpty;
    this.#events.gone(job, code, isStale);
  }
}
