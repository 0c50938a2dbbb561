import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { edgeError } from "./connect-errors.ts";
import type { GatewayServerOptions } from "./server.ts";
import { type Fixture, startFixture } from "./testing.ts";

const open: Fixture[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(open.splice(0).map(({ server }) => server.drain()));
});

/** A gateway that is too busy for writes while `load.isHigh`. */
async function start(options: Partial<GatewayServerOptions> = {}) {
  const load = { isHigh: true };
  const refusal = { reason: "log core.0 is 812 ms behind", retryAfterMs: 1_250 };
  const fixture = await startFixture({
    admission: [{ admit: ({ isWrite }) => (isWrite && load.isHigh ? refusal : undefined) }],
    ...options,
  });
  open.push(fixture);
  return { ...fixture, load };
}

const PLACE = "/tradewind.order.v1.OrderService/PlaceOrder";
const ORDER = JSON.stringify({ customerId: "c", lines: [{ productId: "p", quantity: 1 }] });
const head = (extra: string) =>
  `POST ${PLACE} HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n${extra}\r\n`;

/** A connection on which answers are read one after another. */
function dial({ server }: Fixture) {
  const socket = connect(server.port, "127.0.0.1");
  sockets.push(socket);
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  const answer = async () => {
    for (;;) {
      const [, found, length] = /^([\s\S]*?content-length: (\d+)[\s\S]*?\r\n\r\n)/i.exec(text) ?? [];
      if (found !== undefined && text.length >= found.length + Number(length)) {
        const body = text.slice(found.length, found.length + Number(length));
        text = text.slice(found.length + Number(length));
        return { head: found, body };
      }
      await once(socket, "data");
    }
  };
  return { socket, answer };
}

/** Headers without those that differ from call to call. */
const constant = (text: string) =>
  text
    .toLowerCase()
    .split("\r\n")
    .filter((line) => !/^(x-request-id|date|keep-alive|connection|vary|access-control-)/.test(line))
    .toSorted();

describe("a call that is turned away for load", () => {
  it("is answered on its headers, and its connection goes on when the body has come", async () => {
    const fixture = await start();
    const { socket, answer } = dial(fixture);
    socket.write(head(`content-length: ${ORDER.length}\r\n`));
    const refused = await answer();
    expect(refused.head).toMatch(/^HTTP\/1.1 429 /);
    expect(refused.head).toMatch(/\r\nretry-after: 2\r\n/i);
    expect(refused.head).toMatch(/\r\nx-request-id: \w{26}\r\n/i);
    expect(refused.head).not.toMatch(/connection: close/i);
    fixture.load.isHigh = false;
    socket.write(`${ORDER}${head(`content-length: ${ORDER.length}\r\n`)}${ORDER}`);
    expect((await answer()).head).toMatch(/^HTTP\/1.1 200 /);
    expect(fixture.seen.placed).toBe(1);
  });

  it("gets the same answer as one that is refused in its turn", async () => {
    const fixture = await start();
    const early = dial(fixture);
    early.socket.write(`${head(`content-length: ${ORDER.length}\r\n`)}${ORDER}`);
    const inTurn = dial(fixture);
    // Answers to other origins are not made ahead.
    const origin = "origin: http://localhost:3000\r\n";
    inTurn.socket.write(`${head(`${origin}content-length: ${ORDER.length}\r\n`)}${ORDER}`);
    const [one, other] = await Promise.all([early.answer(), inTurn.answer()]);
    expect(one.body).toBe(other.body);
    expect(constant(one.head)).toEqual(constant(other.head));
    expect(JSON.parse(one.body)).toMatchObject({
      code: "resource_exhausted",
      message: "log core.0 is 812 ms behind",
      details: [
        { type: "google.rpc.ErrorInfo", debug: { reason: "OVERLOADED" } },
        { debug: { retryDelay: "1.250s" } },
      ],
    });
    expect(await fixture.metrics()).toContain(
      'tradewind_gateway_calls_refused_total{code="resource_exhausted"} 2',
    );
  });

  it("is told first if nobody knows who it is, whenever that is found out", async () => {
    const unknown = () => edgeError("UNAUTHENTICATED", "who are you?");
    const authenticators: GatewayServerOptions["authenticator"][] = [
      {
        authenticate: () => {
          throw unknown();
        },
      },
      { authenticate: () => Promise.reject(unknown()) },
    ];
    for (const authenticator of authenticators) {
      const { socket, answer } = dial(await start({ authenticator }));
      socket.write(`${head(`content-length: ${ORDER.length}\r\n`)}${ORDER}`);
      expect((await answer()).head).toMatch(/^HTTP\/1.1 401 /);
    }
  });

  it("loses its connection when its body may be long", async () => {
    const fixture = await start();
    for (const extra of ["content-length: 1000000\r\n", "transfer-encoding: chunked\r\n"]) {
      const { socket, answer } = dial(fixture);
      socket.write(head(extra));
      const refused = await answer();
      expect(refused.head).toMatch(/^HTTP\/1.1 429 /);
      expect(refused.head).toMatch(/connection: close/i);
    }
  });
});
