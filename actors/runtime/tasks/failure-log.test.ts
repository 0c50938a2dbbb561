import { describe, expect, it } from "vitest";
import { createLogger } from "../../../platform/log.ts";
import { FailureLog } from "./failure-log.ts";

function failureLog() {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>);
  return { lines, failures: new FailureLog(createLogger({ role: "worker", write })) };
}

const failure = { queue: "payment", taskId: "t", attempt: 1, error: "no answer" };

describe("the log of failed attempts", () => {
  it("shows the first of a kind with its task, and counts the others", () => {
    const { lines, failures } = failureLog();
    for (let count = 0; count < 300; count++) failures.add({ ...failure, taskId: `t${count}` });
    failures.flush();
    expect(lines).toMatchObject([
      { level: "warn", msg: "task failed", taskId: "t0", attempt: 1, error: "no answer" },
      { level: "warn", msg: "more tasks failed like this", queue: "payment", error: "no answer", more: 299 },
    ]);
  });

  it("tells queues, errors and tasks that fail for long apart, and begins anew with each flush", () => {
    const { lines, failures } = failureLog();
    const others = [failure, { ...failure, queue: "undo" }, { ...failure, error: "garbage" }];
    for (const each of others) failures.add(each);
    failures.add({ ...failure, attempt: 8 });
    failures.flush();
    failures.add(failure);
    expect(lines.map(({ level, queue, error }) => [level, queue, error])).toEqual([
      ["warn", "payment", "no answer"],
      ["warn", "undo", "no answer"],
      ["warn", "payment", "garbage"],
      ["error", "payment", "no answer"],
      ["warn", "payment", "no answer"],
    ]);
  });

  it("writes a bounded number of lines, whatever the errors say", () => {
    const { lines, failures } = failureLog();
    for (let count = 0; count < 1_000; count++) failures.add({ ...failure, error: `no answer to ${count}` });
    failures.flush();
    expect(lines).toHaveLength(34);
    expect(lines.at(-1)).toMatchObject({ msg: "more tasks failed like this", more: 967 });
  });
});
