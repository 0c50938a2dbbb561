import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { seededRandom } from "../../../platform/random.ts";

export interface HttpProxyRules {
  /** Share of POSTs that are carried out and not answered. */
  readonly lostAnswers?: number;
  /** Each POST arrives twice at once, as a network may do. */
  readonly isDoubling?: boolean;
}

/** Stands between HTTP clients and a server, and loses answers or doubles requests. */
export class HttpProxy implements AsyncDisposable {
  lost = 0;
  doubled = 0;
  readonly #server: Server;
  readonly #random = seededRandom(5);

  private constructor(target: string, { lostAnswers = 0, isDoubling = false }: HttpProxyRules) {
    this.#server = createServer((request, response) => {
      const isPost = request.method === "POST";
      const isLost = isPost && this.#random.float() < lostAnswers;
      forward(target, request, response, isPost && isDoubling, isLost).catch(() => response.destroy());
      if (isLost) this.lost++;
      if (isPost && isDoubling) this.doubled++;
    });
  }

  static async before(target: string, rules: HttpProxyRules): Promise<HttpProxy> {
    const proxy = new HttpProxy(target, rules);
    await new Promise<void>((resolve) => void proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }
}

async function forward(
  target: string,
  request: IncomingMessage,
  response: ServerResponse,
  isDoubled: boolean,
  isLost: boolean,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (typeof value === "string" && !/^(host|connection|content-length|transfer-encoding)$/.test(name))
      headers.set(name, value);
  }
  const abort = new AbortController();
  response.once("close", () => abort.abort());
  const init = { method: request.method ?? "GET", headers, signal: abort.signal };
  const send = () =>
    fetch(`${target}${request.url}`, chunks.length === 0 ? init : { ...init, body: Buffer.concat(chunks) });
  const [answer, other] = await Promise.all([send(), isDoubled ? send() : undefined]);
  await other?.arrayBuffer();
  if (isLost) {
    await answer.arrayBuffer();
    response.socket?.resetAndDestroy();
    return;
  }
  const answered: Record<string, string> = {};
  answer.headers.forEach((value, name) => {
    if (!/^(connection|keep-alive|content-length|content-encoding|transfer-encoding|date)$/.test(name))
      answered[name] = value;
  });
  if (/event-stream/.test(answer.headers.get("content-type") ?? "")) {
    response.writeHead(answer.status, answered);
    for await (const chunk of answer.body ?? []) response.write(chunk);
    response.end();
  } else {
    const body = Buffer.from(await answer.arrayBuffer());
    response.writeHead(answer.status, { ...answered, "content-length": String(body.length) }).end(body);
  }
}
