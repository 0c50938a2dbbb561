import { create } from "@bufbuild/protobuf";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../platform/clock.ts";
import {
  ProviderCallSchema,
  ProviderOperation,
} from "../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { callProvider } from "./payment/payment-tasks.ts";
import { createHttpProvider, ProviderError } from "./payment/provider-http.ts";
import type { PaymentProvider } from "./payment/provider.ts";
import { startPspServer, type PspOptions, type PspServer } from "./psp/psp-server.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function start(
  options: Partial<PspOptions> = {},
): Promise<{ psp: PspServer; provider: PaymentProvider }> {
  const psp = await startPspServer({ clock: systemClock, port: 0, ...options });
  closing.push(() => psp.close());
  return { psp, provider: createHttpProvider({ baseUrl: psp.url, timeoutMs: 150 }) };
}

const signal = new AbortController().signal;
const request = { key: "o1:1", amount: 100n, currency: "EUR" };
const followUp = (key: string) => ({ ...request, key, authorizationKey: "o1:1" });

describe("the provider over HTTP", () => {
  it("authorises, captures and refunds, each once per key", async () => {
    const { psp, provider } = await start();
    const authorized = await provider.authorize({ ...request, methodToken: "tok_ok" }, signal);
    expect(authorized).toMatchObject({ status: "approved" });
    expect(await provider.authorize({ ...request, methodToken: "tok_ok" }, signal)).toEqual(authorized);
    expect(await provider.query("o1:1", signal)).toEqual(authorized);
    expect(await provider.query("o9:1", signal)).toBeUndefined();
    expect(await provider.capture(followUp("c"), signal)).toMatchObject({ status: "approved" });
    expect(await provider.void(followUp("v"), signal)).toMatchObject({
      status: "declined",
      code: "already_captured",
    });
    expect(await provider.refund(followUp("r"), signal)).toMatchObject({ status: "approved" });
    const ledger = (await (await fetch(`${psp.url}/ledger`)).json()) as { entries: { operation: string }[] };
    expect(ledger.entries.map(({ operation }) => operation)).toEqual([
      "authorize",
      "capture",
      "void",
      "refund",
    ]);
  });

  it.each([
    ["tok_timeout", "timeout"],
    ["tok_unreachable", "no definite answer"],
    ["tok_flaky", "answered 500"],
    ["tok_garbage", "malformed body"],
  ])("%s leaves the outcome open: %s", async (methodToken, text) => {
    const { provider } = await start();
    const asked = provider.authorize({ ...request, methodToken }, signal);
    await expect(asked).rejects.toThrow(ProviderError);
    await expect(asked).rejects.toThrow(text);
  });

  it("is unreachable when nobody listens", async () => {
    const { psp, provider } = await start();
    await psp.close();
    closing.pop();
    await expect(provider.query("k", signal)).rejects.toThrow(ProviderError);
  });

  it("stops at the caller's signal", async () => {
    const { provider } = await start({ settings: { delayMs: 5_000 } });
    const stop = new AbortController();
    const asked = provider.authorize({ ...request, methodToken: "tok_ok" }, stop.signal);
    stop.abort();
    await expect(asked).rejects.toThrow(ProviderError);
  });

  it.each([
    [
      "an answer without end",
      (server: Server) => server.on("request", (_q, r) => void r.end("x".repeat(100_000))),
    ],
    [
      "an unknown status",
      (server: Server) => server.on("request", (_q, r) => void r.end('{"status":"maybe"}')),
    ],
    [
      "a redirect",
      (server: Server) => server.on("request", (_q, r) => void r.writeHead(302, { location: "/" }).end()),
    ],
  ])("takes %s for no answer", async (_name, misbehave) => {
    const server = misbehave(createServer());
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    closing.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    const provider = createHttpProvider({ baseUrl: `http://127.0.0.1:${port}`, timeoutMs: 500 });
    await expect(provider.capture(followUp("c"), signal)).rejects.toThrow(ProviderError);
  });
});

describe("a kept connection of the provider over HTTP", () => {
  /** Answers the first call of each connection, and hangs up on the others, or on all. */
  async function hangingUp(isFirstAnswered: boolean) {
    const connections = new Map<unknown, number>();
    const server = createServer((request, response) => {
      const calls = (connections.get(request.socket) ?? 0) + 1;
      connections.set(request.socket, calls);
      if (calls > 1 || !isFirstAnswered) request.socket.destroy();
      else response.end(JSON.stringify({ status: "approved", ref: "r" }));
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    closing.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    return { connections, provider: createHttpProvider({ baseUrl: `http://127.0.0.1:${port}` }) };
  }

  it("that was closed meanwhile costs no attempt: the call goes out again on a new one", async () => {
    const { connections, provider } = await hangingUp(true);
    for (const key of ["a", "b", "c"])
      expect(await provider.capture(followUp(key), signal)).toMatchObject({ status: "approved" });
    expect([...connections.values()]).toEqual([2, 1, 1]);
  });

  it("is the only reason to send a call twice", async () => {
    const { connections, provider } = await hangingUp(false);
    await expect(provider.capture(followUp("a"), signal)).rejects.toThrow("socket hang up");
    expect([...connections.values()]).toEqual([1]);
  });
});

describe("the circuit of the provider over HTTP", () => {
  async function statusServer(status: number) {
    const calls: string[] = [];
    const server = createServer((request, response) => {
      calls.push(request.url ?? "");
      response.writeHead(status).end("{}");
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    closing.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    const changes: boolean[] = [];
    const circuit = {
      faultsMax: 5,
      probeEveryMs: 60_000,
      onChange: (isOpen: boolean) => changes.push(isOpen),
    };
    const baseUrl = `http://127.0.0.1:${port}`;
    return { calls, changes, provider: createHttpProvider({ baseUrl, timeoutMs: 200, circuit }) };
  }
  const captures = (provider: PaymentProvider, count: number) =>
    Promise.allSettled(
      Array.from({ length: count }, (_, at) => provider.capture(followUp(`c${at}`), signal)),
    );

  it("opens when the provider fails everybody, and calls it no more", async () => {
    const { calls, changes, provider } = await statusServer(503);
    await captures(provider, 5);
    expect(changes).toEqual([true]);
    await expect(provider.capture(followUp("c"), signal)).rejects.toThrow(ProviderError);
    await expect(provider.query("c", signal)).rejects.toThrow("answers nobody");
    expect(calls).toHaveLength(5);
  });

  it.each([404, 400, 422])("stays closed at %i: the provider is there", async (status) => {
    const { calls, changes, provider } = await statusServer(status);
    await captures(provider, 12);
    expect(calls).toHaveLength(12);
    expect(changes).toEqual([]);
  });

  it("is never opened by declines", async () => {
    const changes: boolean[] = [];
    const psp = await startPspServer({ clock: systemClock, port: 0 });
    closing.push(() => psp.close());
    const circuit = { faultsMax: 2, onChange: (isOpen: boolean) => changes.push(isOpen) };
    const provider = createHttpProvider({ baseUrl: psp.url, circuit });
    for (let at = 0; at < 6; at++) {
      const asked = { ...request, key: `d${at}`, methodToken: "tok_decline" };
      expect(await provider.authorize(asked, signal)).toMatchObject({ status: "declined" });
    }
    expect(changes).toEqual([]);
  });
});

describe("payment tasks over HTTP", () => {
  it.each([
    ["tok_ok", { approved: true }],
    ["tok_declined", { approved: false, code: "card_declined" }],
  ])("bring the method token %s to the provider", async (methodToken, result) => {
    const { psp, provider } = await start();
    const operation = ProviderOperation.AUTHORIZE;
    const call = create(ProviderCallSchema, {
      operation,
      key: "o1:1",
      amount: 100n,
      currency: "EUR",
      methodToken,
    });
    const context = { taskId: "t1", attempt: 1, signal };
    expect(await callProvider(provider, call, context)).toMatchObject(result);
    expect(psp.simulator.ledger()).toMatchObject([{ key: "o1:1", methodToken, amount: "100" }]);
  });

  it("name the authorisation that is captured, voided or refunded", async () => {
    const { provider } = await start();
    await provider.authorize({ ...request, methodToken: "tok_ok" }, signal);
    const ask = (operation: ProviderOperation, key: string) => {
      const call = create(ProviderCallSchema, { ...followUp(key), operation });
      return callProvider(provider, call, { taskId: "t1", attempt: 1, signal });
    };
    expect(await ask(ProviderOperation.CAPTURE, "c")).toMatchObject({ approved: true });
    expect(await ask(ProviderOperation.VOID, "v")).toMatchObject({
      approved: false,
      code: "already_captured",
    });
    expect(await ask(ProviderOperation.REFUND, "r")).toMatchObject({ approved: true });
  });
});

describe("the psp role", () => {
  it("keeps its ledger in a file, without a line that was cut off", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tradewind-psp-"));
    closing.push(() => rmSync(folder, { recursive: true }));
    const ledgerPath = join(folder, "ledger.jsonl");
    const before = await start({ ledgerPath });
    const answer = await before.provider.authorize({ ...request, methodToken: "tok_ok" }, signal);
    await before.psp.close();
    closing.pop();
    writeFileSync(ledgerPath, '{"operation":"capt', { flag: "a" });
    const after = await start({ ledgerPath });
    expect(await after.provider.query("o1:1", signal)).toEqual(answer);
    await after.provider.capture(followUp("c"), signal);
    await after.psp.close();
    closing.pop();
    const last = await start({ ledgerPath });
    expect(last.psp.simulator.ledger().map(({ operation }) => operation)).toEqual(["authorize", "capture"]);
  });

  it("changes its rates while it runs, and refuses what it does not understand", async () => {
    const { psp, provider } = await start();
    const put = (body: string) => fetch(`${psp.url}/settings`, { method: "PUT", body });
    expect((await put('{"successRate":2}')).status).toBe(400);
    expect((await put("{")).status).toBe(400);
    expect(await (await put('{"successRate":0}')).json()).toMatchObject({ successRate: 0, timeoutRate: 0 });
    expect(await provider.authorize({ ...request, methodToken: "tok_any" }, signal)).toMatchObject({
      status: "declined",
    });
    expect((await fetch(`${psp.url}/v1/authorizations`, { method: "POST", body: "{}" })).status).toBe(400);
    expect((await fetch(`${psp.url}/nosuch`)).status).toBe(404);
  });
});
