import { expect, it } from "vitest";
import { Turn } from "./turn.ts";

it("goes round one by one, and says when nobody has it", async () => {
  const turn = new Turn();
  expect(turn.taken).toBeUndefined();
  const order: number[] = [];
  const end = await turn.take();
  const others = [1, 2].map(async (name) => {
    const over = await turn.take();
    order.push(name);
    over();
  });
  await Promise.resolve();
  expect(order).toEqual([]);
  end();
  end();
  await Promise.all(others);
  expect(order).toEqual([1, 2]);
  expect(turn.taken).toBeUndefined();
});
