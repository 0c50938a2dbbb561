/** One operation on an actor as its callers have seen it. Moments are in the order of what callers saw. */
export interface Operation {
  readonly name: string;
  readonly startedAt: number;
  /** Infinity: nobody knows whether it has happened, or will. */
  readonly endedAt: number;
  readonly kind: "open" | "adjust" | "deposit" | "read";
  /** Refused where the balance would fall below zero; a deposit is not, and makes an actor that is not there. */
  readonly amount: bigint;
  /** Goes to others beside. */
  readonly sent: bigint;
  /** What it was answered; of no meaning while its end is not known. */
  readonly answer: string;
}

/** Balance of the actor; undefined: it is not there. */
type Balance = bigint | undefined;

/** What an actor that does one thing at a time would answer, and have afterwards. */
function play(
  { kind, amount, sent }: Operation,
  balance: Balance,
): { readonly answer: string; readonly after: Balance } {
  if (kind === "read") return { answer: String(balance), after: balance };
  if (kind === "open" && balance !== undefined) return { answer: "no ALREADY_OPEN", after: balance };
  if (kind === "adjust" && balance === undefined) return { answer: "no NOT_FOUND", after: balance };
  const after = (balance ?? 0n) + amount;
  if (after < 0n) return { answer: "no SHORT", after: balance };
  return { answer: `ok ${after - sent}`, after: after - sent };
}

/**
 * True if the operations may have happened one after the other, each at a moment between its start and its end, with
 * the answers that were given (Wing and Gong's search). What has no known end happens some time, or never.
 */
export function isLinearizable(operations: readonly Operation[]): boolean {
  const seen = new Set<string>();
  const search = (left: readonly Operation[], balance: Balance): boolean => {
    const firstEnd = Math.min(...left.map(({ endedAt }) => endedAt));
    if (firstEnd === Infinity) return true;
    const state = `${balance} ${left.map(({ name }) => name).join()}`;
    if (seen.has(state)) return false;
    seen.add(state);
    return left.some((next) => {
      if (next.startedAt > firstEnd) return false; // another one had ended by then
      const { answer, after } = play(next, balance);
      if (next.endedAt !== Infinity && answer !== next.answer) return false;
      return search(
        left.filter((other) => other !== next),
        after,
      );
    });
  };
  return search(operations, undefined);
}
