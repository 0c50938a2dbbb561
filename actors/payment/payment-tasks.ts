import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  ProviderOperation,
  type ProviderCall,
  type ProviderResultSchema,
} from "../../proto/gen/tradewind/actors/payment/v1/payment_actor_pb.ts";
import { serveTasks, type TaskContext, type TaskService } from "../runtime/index.ts";
import { authorizeQueue, captureQueue, undoQueue } from "./payment-queues.ts";
import { ALREADY_CAPTURED, type PaymentProvider, type ProviderAnswer } from "./provider.ts";

/** The payment task queues, served by a provider. */
export function paymentTasks(provider: PaymentProvider): readonly TaskService[] {
  const handle = (call: ProviderCall, context: TaskContext) => callProvider(provider, call, context);
  return [authorizeQueue, captureQueue, undoQueue].map((queue) => serveTasks(queue, handle));
}

/**
 * Asks the provider; before a repetition it asks what became of the call before.
 * @throws Error without a definite answer, and when a compensation is declined: both are tried again
 */
export async function callProvider(
  provider: PaymentProvider,
  call: ProviderCall,
  { taskId, attempt, signal }: Pick<TaskContext, "taskId" | "attempt" | "signal">,
): Promise<MessageInitShape<typeof ProviderResultSchema>> {
  const key = call.key === "" ? taskId : call.key;
  const known = attempt > 1 ? await provider.query(key, signal) : undefined;
  const answer = known ?? (await ask(provider, { ...call, key }, signal));
  if (answer.status === "approved") {
    return { approved: true, providerRef: answer.ref, expiresMs: BigInt(answer.expiresMs) };
  }
  const { code, text } = answer;
  const isExpected = call.operation === ProviderOperation.VOID && code === ALREADY_CAPTURED;
  if (call.compensating && !isExpected)
    throw new Error(`the provider declines to give money back: ${code} ${text}`);
  return { approved: false, code, text };
}

function ask(provider: PaymentProvider, call: ProviderCall, signal: AbortSignal): Promise<ProviderAnswer> {
  switch (call.operation) {
    case ProviderOperation.AUTHORIZE:
      return provider.authorize(call, signal);
    case ProviderOperation.CAPTURE:
      return provider.capture(call, signal);
    case ProviderOperation.VOID:
      return provider.void(call, signal);
    case ProviderOperation.REFUND:
      return provider.refund(call, signal);
    default:
      throw new Error(`there is no provider operation ${call.operation}`);
  }
}
