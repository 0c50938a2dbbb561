import type { Report } from "./fold.ts";
import { isLinearizable, type Operation } from "./linearizability.ts";
import { isPrivate } from "./private-keys.ts";
import type { CallRecord, Reading, Workload } from "./workload.ts";

/** I12: actors whose every answer tells of their balance seem to do one thing at a time, whenever they are asked. */
export function checkPrivate({ calls, readings }: Workload, report: Report): void {
  const byActor = new Map<string, Operation[]>();
  const add = (tenant: string, key: string, operation: Operation) => {
    const operations = byActor.get(`${tenant}.${key}`);
    if (operations === undefined) byActor.set(`${tenant}.${key}`, [operation]);
    else operations.push(operation);
  };
  for (const record of calls.values()) {
    const { tenant, key, script } = record.op;
    if (!isPrivate(key)) continue;
    const operation = ofCall(record);
    add(tenant, key, operation);
    if (operation.answer.startsWith("no")) continue;
    for (const { to = "", amount = 0n, script: then } of script.sends ?? []) {
      const { startedAt } = operation;
      const name = then?.op ?? "";
      add(tenant, to, { name, startedAt, endedAt: Infinity, kind: "deposit", amount, sent: 0n, answer: "" });
    }
  }
  for (const [index, reading] of readings.entries())
    add(reading.tenant, reading.key, ofReading(reading, index));
  for (const [name, operations] of byActor) {
    if (isLinearizable(operations)) continue;
    const told = operations.toSorted((a, b) => a.startedAt - b.startedAt).map(show);
    report("private keys are linearizable", `${name}: ${told.join("; ")}`);
  }
}

function ofCall({ op, answer = "", startedAt, endedAt }: CallRecord): Operation {
  const { method, script } = op;
  const kind = method === "open" ? "open" : "adjust";
  const sent = (script.sends ?? []).reduce((sum, { amount = 0n }) => sum + amount, 0n);
  return { name: script.op, startedAt, endedAt, kind, amount: script.amount ?? 0n, sent, answer };
}

function ofReading({ startedAt, endedAt, balance }: Reading, index: number): Operation {
  return {
    name: `r${index}`,
    startedAt,
    endedAt,
    kind: "read",
    amount: 0n,
    sent: 0n,
    answer: String(balance),
  };
}

function show({ name, startedAt, endedAt, kind, amount, answer }: Operation): string {
  return `${startedAt}-${endedAt} ${kind} ${name}${kind === "read" ? "" : ` ${amount}`}: ${answer}`;
}
