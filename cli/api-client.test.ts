import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createApiClient } from "./api-client.ts";

const answers: { status: number; body: object }[] = [];
const server = createServer((request, response) => {
  request.resume();
  const { status, body } = answers.shift() ?? { status: 200, body: { ok: true } };
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
});
let url = "";
beforeEach(async () => {
  answers.length = 0;
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise<void>((resolve) => void server.close(() => resolve()));
});

const later = { status: 503, body: { code: "unavailable", message: "a worker is starting" } };

describe("calls of a command", () => {
  it("are repeated while the system says later", async () => {
    const api = createApiClient(url);
    answers.push(later, later);
    expect(await api.call("/x", {}, "k")).toEqual({ ok: true });
    api.close();
  });

  it("tell fields and reason of a refusal", async () => {
    const api = createApiClient(url);
    const details = [
      { debug: { reason: "ERROR_REASON_VALIDATION" } },
      { debug: { fieldViolations: [{ field: "lines[0].quantity", description: "must be at least 1" }] } },
    ];
    answers.push({ status: 400, body: { code: "invalid_argument", message: "1 field is wrong", details } });
    await expect(api.call("/x", {})).rejects.toMatchObject({
      code: "invalid_argument",
      reason: "VALIDATION",
      message: "1 field is wrong (lines[0].quantity: must be at least 1)",
    });
    api.close();
  });

  it("say what to do where there is no gateway", async () => {
    const api = createApiClient("http://127.0.0.1:1");
    await expect(api.call("/x", {})).rejects.toThrow(
      "no gateway answers at http://127.0.0.1:1 (ECONNREFUSED)",
    );
    api.close();
  });
});
