import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../platform/clock.ts";
import {
  ProviderCallSchema,
  ProviderOperation,
} from "../../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { PaymentSimulator } from "../shared/payment-simulator.ts";
import { callProvider, paymentTasks } from "./payment-tasks.ts";
import { createMemoryProvider } from "./provider-memory.ts";

const { AUTHORIZE, CAPTURE, VOID, REFUND } = ProviderOperation;

function setUp() {
  const simulator = new PaymentSimulator({ clock: systemClock });
  const provider = createMemoryProvider(simulator);
  const attempt = (
    operation: ProviderOperation,
    key: string,
    number: number,
    more: { methodToken?: string } = {},
  ) => {
    const call = create(ProviderCallSchema, {
      operation,
      key,
      authorizationKey: "o1:1",
      amount: 100n,
      currency: "EUR",
      compensating: operation === VOID || operation === REFUND,
      ...more,
    });
    return callProvider(provider, call, {
      taskId: "task-1",
      attempt: number,
      signal: AbortSignal.timeout(20),
    });
  };
  return { simulator, attempt };
}

describe("payment tasks", () => {
  it("serve the three queues", () => {
    const provider = createMemoryProvider(new PaymentSimulator({ clock: systemClock }));
    expect(paymentTasks(provider).map(({ queue }) => queue.name)).toEqual([
      "payment",
      "payment_capture",
      "payment_undo",
    ]);
  });

  it("T4 charge once when the answer was lost: the next attempt asks what became of the first", async () => {
    const { simulator, attempt } = setUp();
    await expect(attempt(AUTHORIZE, "o1:1", 1, { methodToken: "tok_timeout" })).rejects.toThrow("silent");
    const result = await attempt(AUTHORIZE, "o1:1", 2, { methodToken: "tok_timeout" });
    expect(result).toMatchObject({ approved: true });
    expect(await attempt(AUTHORIZE, "o1:1", 3, { methodToken: "tok_timeout" })).toEqual(result);
    await attempt(CAPTURE, "o1:1:capture", 1);
    await attempt(CAPTURE, "o1:1:capture", 1);
    expect(simulator.ledger().map(({ operation }) => operation)).toEqual(["authorize", "capture"]);
  });

  it("return a decline as a definite answer", async () => {
    const { attempt } = setUp();
    const result = await attempt(AUTHORIZE, "o1:1", 1, { methodToken: "tok_declined" });
    expect(result).toMatchObject({ approved: false, code: "card_declined" });
  });

  it("take the task's id for the key where there is none", async () => {
    const { simulator, attempt } = setUp();
    await attempt(VOID, "", 1);
    expect(simulator.ledger()).toMatchObject([{ key: "task-1", operation: "void", status: "approved" }]);
  });

  it("do not take no for an answer where money has to go back, but for a void that is too late", async () => {
    const { attempt } = setUp();
    await expect(attempt(REFUND, "r1", 1)).rejects.toThrow("unknown_authorization");
    await attempt(AUTHORIZE, "o1:1", 1, { methodToken: "tok_ok" });
    await attempt(CAPTURE, "o1:1:capture", 1);
    expect(await attempt(VOID, "", 1)).toMatchObject({ approved: false, code: "already_captured" });
    expect(await attempt(REFUND, "r2", 1)).toMatchObject({ approved: true });
  });
});
