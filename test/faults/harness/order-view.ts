/** An order as the API's JSON has it, as far as the checks look at it. */
export interface OrderView {
  readonly id: string;
  readonly customerId: string;
  readonly status: string;
  readonly reason?: { readonly code?: string };
  readonly lines: readonly {
    readonly productId: string;
    readonly quantity: number;
    readonly quantityHeld?: number;
  }[];
  readonly total?: { readonly currencyCode: string; readonly minorUnits?: string };
  readonly paymentStatus?: string;
  readonly revision: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

const FINAL = new Set(["CANCELLED", "REJECTED", "EXPIRED", "FAILED"]);

/** `CONFIRMED` of `ORDER_STATUS_CONFIRMED`. */
export function statusOf({ status }: Pick<OrderView, "status">): string {
  return status.replace("ORDER_STATUS_", "");
}

/** Nothing ever happens to it any more by itself. */
export function isTerminal(order: OrderView): boolean {
  const status = statusOf(order);
  if (status === "CONFIRMED") return order.paymentStatus === "PAYMENT_STATUS_CAPTURED";
  return FINAL.has(status);
}

/** Statuses that never change again. */
export function isFinal(order: OrderView): boolean {
  return FINAL.has(statusOf(order));
}

export function totalOf({ total }: OrderView): bigint {
  return BigInt(total?.minorUnits ?? "0");
}

/** Where an order may get to from a status, in any number of steps. */
const LATER: Readonly<Record<string, readonly string[]>> = {
  PENDING: [
    "AWAITING_PAYMENT",
    "CONFIRMED",
    "CANCELLING",
    "CANCELLED",
    "REJECTED",
    "EXPIRED",
    "COMPENSATING",
    "FAILED",
  ],
  AWAITING_PAYMENT: ["CONFIRMED", "CANCELLING", "CANCELLED", "REJECTED", "EXPIRED", "COMPENSATING", "FAILED"],
  CONFIRMED: ["CANCELLING", "CANCELLED", "COMPENSATING", "FAILED"],
  CANCELLING: ["CANCELLED"],
  COMPENSATING: ["FAILED"],
};

/** Whether an order seen in one status may be seen in the other afterwards (I11). */
export function mayFollow(before: string, after: string): boolean {
  return before === after || (LATER[before] ?? []).includes(after);
}
