import { createServer, type Server } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { HttpPool } from "./http-pool.ts";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function listen(server: Server | ReturnType<typeof createTcpServer>): Promise<string> {
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  closing.push(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function pool(url: string, connectionsMax = 4, timeoutMs = 2_000): HttpPool {
  const made = new HttpPool({ url, connectionsMax, timeoutMs });
  closing.unshift(() => made.close());
  return made;
}

describe("the HTTP pool", () => {
  it("posts JSON with its key and reads answers of known length and chunked ones", async () => {
    const url = await listen(
      createServer((request, response) => {
        const chunks: Buffer[] = [];
        request.on("data", (chunk: Buffer) => chunks.push(chunk));
        request.on("end", () => {
          const body = Buffer.concat(chunks).toString();
          const text = `${request.url} ${String(request.headers["idempotency-key"])} ${body} žluť`;
          response.setHeader("idempotent-replayed", "true");
          if (request.url === "/chunked") {
            response.write(text.slice(0, 3));
            response.end(text.slice(3));
          } else response.setHeader("content-length", Buffer.byteLength(text)).end(text);
        });
      }),
    );
    const client = pool(url);
    for (const path of ["/plain", "/chunked", "/plain"]) {
      const answer = await client.post(path, '{"a":1}', "key-1");
      expect(answer).toMatchObject({ status: 200, isReplayed: true, body: `${path} key-1 {"a":1} žluť` });
    }
  });

  it("opens no more connections than it may, and serves all", async () => {
    let open = 0;
    let most = 0;
    const server = createServer((_, response) => void setImmediate(() => response.end("ok")));
    server.on("connection", (socket) => {
      most = Math.max(most, ++open);
      socket.on("close", () => open--);
    });
    const client = pool(await listen(server), 3);
    const answers = await Promise.all(Array.from({ length: 30 }, () => client.post("/", "{}")));
    expect(answers.every(({ body }) => body === "ok")).toBe(true);
    expect(most).toBe(3);
  });

  it("sends a request again where the server had closed the idle connection", async () => {
    let served = 0;
    const server = createServer((_, response) => {
      response.end(`answer ${++served}`);
      response.once("finish", () => setImmediate(() => response.socket?.destroy()));
    });
    const client = pool(await listen(server), 1);
    for (let at = 1; at <= 5; at++)
      expect(await client.post("/", "{}")).toMatchObject({ body: `answer ${at}` });
  });

  it("says how a request failed", async () => {
    const silent = await listen(createTcpServer(() => undefined));
    await expect(pool(silent, 1, 50).post("/", "{}")).rejects.toMatchObject({ code: "TIMEOUT" });
    const broken = await listen(createTcpServer((socket) => socket.end("this is no HTTP\r\n\r\n")));
    await expect(pool(broken).post("/", "{}")).rejects.toMatchObject({ code: "MALFORMED" });
    await expect(pool("http://127.0.0.1:1").post("/", "{}")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    const closed = pool(silent);
    closed.close();
    await expect(closed.post("/", "{}")).rejects.toMatchObject({ code: "CLOSED" });
  });
});
