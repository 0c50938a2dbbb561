import {
  DepositedSchema,
  PayTaskSchema,
  PaidSchema,
  SampleActor,
  SampleStateSchema,
  SampleTotalsSchema,
} from "../../proto/gen/tradewind/actors/sample/v1/sample_actor_pb.ts";
import { defineActor } from "./actor.ts";
import { DomainError } from "./domain-error.ts";
import { defineProjection, on } from "./projection.ts";
import { defineTaskQueue } from "./task-queue.ts";

/** Payments of the sample actor. */
export const samplePayments = defineTaskQueue({
  name: "sample-payments",
  input: PayTaskSchema,
  output: PaidSchema,
  retry: { attemptsMax: 5, delayMsMin: 50, delayMsMax: 500, timeoutMs: 1_000, deadlineMs: 60_000 },
});

/** An account with every effect that the runtime knows; for tests and simulations of the runtime. */
export const sampleActor = defineActor(
  SampleActor,
  SampleStateSchema,
  {
    open(ctx, { amount }) {
      if (!ctx.isNew) throw DomainError.of("ALREADY_EXISTS", `account ${ctx.key} is open`);
      ctx.state.balance = amount;
      ctx.emit(DepositedSchema, { amount });
      ctx.list("accounts", { size: amount > 100n ? "large" : "small" });
      return { balance: amount };
    },
    deposit(ctx, { amount }) {
      ctx.state.balance += amount;
      ctx.emit(DepositedSchema, { amount });
      return { balance: ctx.state.balance };
    },
    transfer(ctx, { to, amount }) {
      const { balance } = ctx.state;
      if (balance < amount)
        throw DomainError.of("INSUFFICIENT", `only ${balance} there`, { balance: String(balance) });
      ctx.state.balance -= amount;
      ctx.send(SampleActor.method.receive, to, { amount });
      return { balance: ctx.state.balance };
    },
    receive(ctx, { amount }) {
      ctx.state.balance += amount;
      ctx.state.messages += 1;
      return {};
    },
    pay(ctx, { amount }) {
      ctx.state.balance -= amount;
      ctx.task(samplePayments, { amount }, SampleActor.method.onPaid);
      return ctx.defer("PAID");
    },
    onPaid(ctx, { amount }) {
      if (ctx.outcome?.status === "done") ctx.state.paid += amount;
      else ctx.state.givenUp += 1;
      if (ctx.outcome?.late === true) ctx.state.late += 1;
      ctx.resolve("PAID", SampleActor.method.pay, { balance: ctx.state.balance });
      return {};
    },
    remind(ctx, { delayMs, amount }) {
      ctx.timer("reminder", delayMs, SampleActor.method.onReminder, { amount });
      return { balance: ctx.state.balance };
    },
    onReminder(ctx, { amount }) {
      ctx.state.balance += amount;
      ctx.state.reminders += 1;
      return {};
    },
    spread(ctx, { to, amount }) {
      for (const key of to) ctx.send(SampleActor.method.receive, key, { amount });
      ctx.state.balance -= amount * BigInt(to.length);
      return { balance: ctx.state.balance };
    },
    break() {
      throw new Error("broken on purpose");
    },
  },
  { creates: ["open", "receive"] },
);

/** Sum of all deposits of a tenant, computed from events. */
export const sampleProjection = defineProjection("analytics", SampleTotalsSchema, [
  on(
    SampleTotalsSchema,
    DepositedSchema,
    () => ["totals"],
    (ctx, { amount }) => {
      const totals = ctx.record("totals");
      totals.deposited += amount;
      totals.count += 1;
    },
  ),
]);
