import { describe, expect, it } from "vitest";
import { createLogger } from "./log.ts";

function lines(options: { pretty?: boolean } = {}) {
  const written: string[] = [];
  const log = createLogger({
    role: "test",
    level: "debug",
    ...options,
    write: (line) => void written.push(line),
  });
  return { log, written };
}

describe("createLogger", () => {
  it("writes one JSON line with role, level and the fields of the child", () => {
    const { log, written } = lines();
    log.child({ component: "bus" }).info({ orderId: "o-1" }, "order placed");
    expect(written).toHaveLength(1);
    expect(JSON.parse(written[0] ?? "")).toMatchObject({
      role: "test",
      level: "info",
      component: "bus",
      orderId: "o-1",
      msg: "order placed",
    });
  });

  it.each([
    { password: "hush" },
    { user: { email: "hush" } },
    { request: { headers: { authorization: "hush", cookie: "hush", "set-cookie": "hush" } } },
    { "set-cookie": "hush" },
    { headers: { "set-cookie": "hush", Authorization: "hush" } },
    { payment: { card: { number: "hush" } } },
    { payment: { cardToken: "hush", cvc: "hush" } },
    { accessToken: "hush", refreshToken: "hush", apiKey: "hush" },
  ])("keeps the secret of %j out", (fields) => {
    const { log, written } = lines();
    log.info(fields, "seen");
    expect(written[0]).not.toContain("hush");
    expect(written[0]).toContain("[redacted]");
  });

  it("keeps secrets of errors and of children out, and leaves what is logged as it was", () => {
    const { log, written } = lines();
    const err = Object.assign(new Error("refused"), { request: { headers: { Cookie: "hush" } } });
    const order = { id: "o-1", buyer: { email: "hush" } };
    log.child({ token: "hush" }).error({ err, order, others: [order] }, "failed");
    expect(written[0]).not.toContain("hush");
    expect(written[0]).toContain("refused");
    expect(order.buyer.email).toBe("hush");
  });

  it("survives a cycle", () => {
    const { log, written } = lines();
    const parent: Record<string, unknown> = { id: 1 };
    parent["self"] = parent;
    log.info({ parent }, "seen");
    expect(written).toHaveLength(1);
  });

  it("writes a readable line on request, with the stack of an error and still without secrets", () => {
    const { log, written } = lines({ pretty: true });
    log.warn({ attempt: 2, token: "hush" }, "trying again");
    log.error({ err: new Error("boom") }, "failed");
    expect(written[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn {2}trying again attempt=2 token=\[redacted\]\n$/);
    expect(written[1]).toContain("Error: boom");
  });
});
