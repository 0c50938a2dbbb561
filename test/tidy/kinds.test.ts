import { describe, expect, it } from "vitest";
import { ACTORS, PROJECTIONS } from "../../actors/kinds.ts";
import * as queues from "../../actors/payment/payment-queues.ts";
import { inputOf, KIND_NAMES, stateOf, taskInputOf } from "../../cli/kinds.ts";

describe("inspect knows", () => {
  it("every kind that a worker runs, and lists", () => {
    const kinds = [...ACTORS, ...PROJECTIONS].map(({ kind }) => kind);
    expect([...kinds, "list"].toSorted()).toEqual(KIND_NAMES.toSorted());
  });

  it.each(ACTORS)("state and messages of $kind", ({ kind, state, handlers }) => {
    expect(stateOf(kind)).toBe(state);
    for (const [rpc, { method }] of handlers) expect(inputOf(kind, rpc), rpc).toBe(method.input);
  });

  it("the input of every task queue", () => {
    for (const { name, input } of Object.values(queues)) expect(taskInputOf(name), name).toBe(input);
  });
});
