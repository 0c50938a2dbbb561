import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { z } from "zod";
import type { Clock } from "../../platform/clock.ts";
import {
  PaymentSimulator,
  type SimulatorAnswer,
  type SimulatorSettings,
} from "../shared/payment-simulator.ts";
import { openLedgerFile } from "./ledger-file.ts";

export interface PspOptions {
  readonly clock: Clock;
  /** 0: any free port. */
  readonly port: number;
  /** 127.0.0.1 by default. */
  readonly host?: string;
  readonly settings?: Partial<SimulatorSettings>;
  /** Where the ledger is kept; in memory alone when absent. */
  readonly ledgerPath?: string;
}

export interface PspServer {
  readonly url: string;
  readonly simulator: PaymentSimulator;
  close(): Promise<void>;
}

const BODY_BYTES_MAX = 16_384;

const operations = {
  authorizations: "authorize",
  captures: "capture",
  voids: "void",
  refunds: "refund",
} as const;

const callSchema = z.object({
  amount: z.string().regex(/^\d{1,18}$/),
  currency: z.string().regex(/^[A-Z]{3}$/),
  methodToken: z.string().max(128).default(""),
  authorizationKey: z.string().max(256).default(""),
});

const rate = z.number().min(0).max(1);
const settingsSchema = z
  .object({
    successRate: rate,
    timeoutRate: rate,
    unreachableRate: rate,
    delayMs: z.number().int().min(0).max(60_000),
  })
  .partial()
  .strict();

/**
 * The built-in payment provider over HTTP (contract in actors/payment/provider-http.ts). Beside it `GET /ledger` lists
 * what took effect, `GET` and `PUT /settings` read and change the rates.
 */
export async function startPspServer(options: PspOptions): Promise<PspServer> {
  const { clock, port, host = "127.0.0.1", settings = {}, ledgerPath } = options;
  const file = ledgerPath === undefined ? undefined : openLedgerFile(ledgerPath);
  const simulator = new PaymentSimulator({
    clock,
    settings,
    ...(file && { record: (entry) => file.append(entry), entries: file.entries }),
  });
  const server = createServer((request, response) => {
    serve(simulator, request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else send(response, 400, { error: error instanceof Error ? error.message : String(error) });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  return {
    url: `http://${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`,
    simulator,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
      file?.close();
    },
  };
}

async function serve(
  simulator: PaymentSimulator,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname } = new URL(request.url ?? "/", "http://psp");
  const route = `${request.method} ${pathname}`;
  if (route === "GET /ledger") return send(response, 200, { entries: simulator.ledger() });
  if (route === "GET /livez" || route === "GET /readyz") return send(response, 200, { status: "ok" });
  if (route === "GET /settings") return send(response, 200, simulator.settings);
  if (route === "PUT /settings") {
    simulator.settings = { ...simulator.settings, ...defined(settingsSchema.parse(await readJson(request))) };
    return send(response, 200, simulator.settings);
  }
  const [, version, noun = "", key] = pathname.split("/");
  if (version !== "v1") return send(response, 404, { error: "no such path" });
  if (request.method === "GET" && noun === "operations" && key !== undefined) {
    return answer(response, simulator.query(decodeURIComponent(key)));
  }
  if (request.method !== "POST" || !isNoun(noun)) return send(response, 404, { error: "no such path" });
  const idempotencyKey = request.headers["idempotency-key"];
  if (typeof idempotencyKey !== "string" || idempotencyKey === "")
    throw new Error("Idempotency-Key is missing");
  const call = callSchema.parse(await readJson(request));
  const operation = operations[noun];
  const authorizationKey = operation === "authorize" ? idempotencyKey : call.authorizationKey;
  const amount = BigInt(call.amount);
  return answer(
    response,
    await simulator.call({ ...call, operation, key: idempotencyKey, authorizationKey, amount }),
  );
}

function isNoun(noun: string): noun is keyof typeof operations {
  return Object.hasOwn(operations, noun);
}

/** Without the fields that are undefined. */
function defined(settings: z.infer<typeof settingsSchema>): Partial<SimulatorSettings> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

function answer(response: ServerResponse, result: SimulatorAnswer | undefined): void {
  if (result === undefined) return send(response, 404, { error: "unknown key" });
  switch (result.kind) {
    case "answer": {
      const { status, ref, expiresMs, code, text } = result.entry;
      return send(response, 200, status === "approved" ? { status, ref, expiresMs } : { status, code, text });
    }
    case "silent": // the caller hangs up when it is tired of waiting
      return;
    case "unreachable":
      response.socket?.destroy();
      return;
    case "error":
      return send(response, 500, { error: "the simulator is flaky" });
    case "garbage":
      response.writeHead(200, { "content-type": "text/html" }).end("<html>it works!</html>");
      return;
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new Error(`the body is longer than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}
