import { createHash } from "node:crypto";
import { sleep, type Clock } from "../../platform/clock.ts";
import { isSteered, steeringOf, type SimulatedOperation, type Steering } from "./simulator-steering.ts";

/** Rates apply to authorisations with a token that the simulator does not know, by a hash: repeats do the same. */
export interface SimulatorSettings {
  /** Share of authorisations that are approved, 0 to 1. */
  readonly successRate: number;
  /** Share that takes effect without an answer to the first call. */
  readonly timeoutRate: number;
  /** Share whose first call does not arrive. */
  readonly unreachableRate: number;
  /** Before each answer. */
  readonly delayMs: number;
}

export const SIMULATOR_SETTINGS: SimulatorSettings = Object.freeze({
  successRate: 1,
  timeoutRate: 0,
  unreachableRate: 0,
  delayMs: 0,
});

export interface SimulatedCall {
  readonly operation: SimulatedOperation;
  readonly key: string;
  /** Of an authorisation its own key. */
  readonly authorizationKey: string;
  readonly amount: bigint;
  readonly currency: string;
  /** Only of an authorisation. */
  readonly methodToken: string;
}

/** One operation that took effect, with its answer. */
export interface LedgerEntry {
  readonly operation: SimulatedOperation;
  readonly key: string;
  readonly authorizationKey: string;
  /** Minor units, as a decimal number. */
  readonly amount: string;
  readonly currency: string;
  readonly methodToken: string;
  readonly status: "approved" | "declined";
  readonly ref: string;
  readonly code: string;
  readonly text: string;
  readonly atMs: number;
  readonly expiresMs: number;
}

/** What the wire does with a call: an answer, or one of the ways to have none. */
export type SimulatorAnswer =
  | { readonly kind: "answer"; readonly entry: LedgerEntry }
  | { readonly kind: "silent" | "unreachable" | "error" | "garbage" };

export interface SimulatorOptions {
  readonly clock: Clock;
  readonly settings?: Partial<SimulatorSettings>;
  /** Operations kept; the oldest are forgotten beyond it. */
  readonly entriesMax?: number;
  /** Called before an operation is answered, with what happened. */
  readonly record?: (entry: LedgerEntry) => void;
  /** What happened before. */
  readonly entries?: Iterable<LedgerEntry>;
}

const ENTRIES_MAX = 1_000_000;
/** Cards hold an authorisation for about a week. */
const AUTHORIZATION_MS = 7 * 86_400_000;

/** What is known of one authorisation. */
interface Authorization {
  methodToken: string;
  status: "approved" | "declined" | "voided" | "unseen";
  amount: bigint;
  captured: bigint;
  refunded: bigint;
}

/** A payment provider's ledger with its whims. The same key has the same effect once and the same answer always. */
export class PaymentSimulator {
  settings: SimulatorSettings;
  readonly #clock: Clock;
  readonly #entriesMax: number;
  readonly #record: (entry: LedgerEntry) => void;
  readonly #entries = new Map<string, LedgerEntry>();
  readonly #authorizations = new Map<string, Authorization>();
  readonly #calls = new Map<string, number>();
  readonly #pending = new Map<string, Promise<LedgerEntry>>();
  #count = 0;

  constructor({
    clock,
    settings,
    entriesMax = ENTRIES_MAX,
    record = () => {},
    entries = [],
  }: SimulatorOptions) {
    this.settings = { ...SIMULATOR_SETTINGS, ...settings };
    this.#clock = clock;
    this.#entriesMax = entriesMax;
    this.#record = record;
    for (const entry of entries) this.#keep(entry);
  }

  /** All operations that took effect, oldest first. */
  ledger(): readonly LedgerEntry[] {
    return [...this.#entries.values()];
  }

  /** Performs an operation, unless its key has been seen. */
  async call(call: SimulatedCall): Promise<SimulatorAnswer> {
    const steering = this.#steering(call);
    const calls = this.#callsOf(call, steering);
    if (calls <= (steering.unreachableCalls ?? 0)) return { kind: "unreachable" };
    if (calls <= (steering.errorCalls ?? 0)) return { kind: "error" };
    const performed = this.#perform(call, steering);
    const entry = performed instanceof Promise ? await performed : performed;
    const delayMs = this.settings.delayMs + (steering.slowMs ?? 0);
    if (delayMs > 0) await sleep(this.#clock, delayMs);
    if (calls <= (steering.silentCalls ?? 0)) return { kind: "silent" };
    if (calls <= (steering.garbageCalls ?? 0)) return { kind: "garbage" };
    return { kind: "answer", entry };
  }

  /** What happened under a key; undefined if nothing did. */
  query(key: string): SimulatorAnswer | undefined {
    const entry = this.#entries.get(key);
    const methodToken = this.#authorizations.get(entry?.authorizationKey ?? key)?.methodToken ?? "";
    if (entry === undefined) return undefined;
    const isHidden = steeringOf(methodToken, entry.operation)?.hidden === true;
    return isHidden ? { kind: "silent" } : { kind: "answer", entry };
  }

  /** Calls of the key so far, where the first ones fare differently. */
  #callsOf({ key }: SimulatedCall, steering: Steering): number {
    const { unreachableCalls = 0, errorCalls = 0, silentCalls = 0, garbageCalls = 0 } = steering;
    if (unreachableCalls + errorCalls + silentCalls + garbageCalls === 0) return 1;
    const calls = (this.#calls.get(key) ?? 0) + 1;
    this.#calls.set(key, calls);
    return calls;
  }

  #steering(call: SimulatedCall): Steering {
    const methodToken =
      call.methodToken || (this.#authorizations.get(call.authorizationKey)?.methodToken ?? "");
    if (call.operation !== "authorize" || isSteered(methodToken))
      return steeringOf(methodToken, call.operation) ?? {};
    const { successRate, timeoutRate, unreachableRate } = this.settings;
    return {
      ...(!isAmong(call.key, "outcome", successRate) && { decline: "card_declined" }),
      ...(isAmong(call.key, "timeout", timeoutRate) && { silentCalls: 1 }),
      ...(isAmong(call.key, "unreachable", unreachableRate) && { unreachableCalls: 1 }),
    };
  }

  #perform(call: SimulatedCall, steering: Steering): LedgerEntry | Promise<LedgerEntry> {
    const done = this.#entries.get(call.key);
    if (done !== undefined) return done;
    if (steering.lateMs === undefined) return this.#take(call, steering);
    const pending = this.#pending.get(call.key);
    if (pending !== undefined) return pending;
    const late = sleep(this.#clock, steering.lateMs).then(() => this.#take(call, steering));
    this.#pending.set(call.key, late);
    return late.finally(() => this.#pending.delete(call.key));
  }

  /** Decides, writes down, and only then answers. */
  #take(call: SimulatedCall, steering: Steering): LedgerEntry {
    const { operation, key, authorizationKey, amount, currency, methodToken } = call;
    const verdict = steering.decline ?? this.#objection(call);
    const nowMs = this.#clock.nowMs();
    const isApproved = verdict === undefined;
    const entry: LedgerEntry = {
      operation,
      key,
      authorizationKey,
      amount: String(amount),
      currency,
      methodToken,
      status: isApproved ? "approved" : "declined",
      ref: isApproved ? `sim_${++this.#count}_${nowMs.toString(36)}` : "",
      code: verdict ?? "",
      text: isApproved ? "" : `the simulator declines: ${verdict}`,
      atMs: nowMs,
      expiresMs: operation === "authorize" && isApproved ? nowMs + AUTHORIZATION_MS : 0,
    };
    this.#record(entry);
    this.#keep(entry);
    return entry;
  }

  /** Why the books do not allow it. */
  #objection({ operation, authorizationKey, amount }: SimulatedCall): string | undefined {
    const known = this.#authorizations.get(authorizationKey);
    if (operation === "authorize") return known?.status === "voided" ? "voided" : undefined;
    if (operation === "void")
      return known !== undefined && known.captured > 0n ? "already_captured" : undefined;
    if (known === undefined) return "unknown_authorization";
    if (operation === "capture") {
      if (known.status !== "approved") return known.status === "voided" ? "voided" : "not_authorized";
      return known.captured + amount > known.amount ? "exceeds_authorized" : undefined;
    }
    return known.refunded + amount > known.captured ? "exceeds_captured" : undefined;
  }

  #keep(entry: LedgerEntry): void {
    const { operation, key, authorizationKey, methodToken, status } = entry;
    this.#entries.set(key, entry);
    const unseen: Authorization = { methodToken, status: "unseen", amount: 0n, captured: 0n, refunded: 0n };
    const known = this.#authorizations.get(authorizationKey) ?? unseen;
    const amount = BigInt(entry.amount);
    if (operation === "authorize") {
      Object.assign(known, { methodToken, amount, status: known.status === "voided" ? "voided" : status });
      this.#authorizations.set(authorizationKey, known);
    } else if (status === "approved") {
      if (operation === "void") known.status = "voided";
      else if (operation === "capture") known.captured += amount;
      else known.refunded += amount;
      this.#authorizations.set(authorizationKey, known);
    }
    this.#trim();
  }

  #trim(): void {
    if (this.#entries.size <= this.#entriesMax) return;
    const [oldest] = this.#entries.values();
    if (oldest === undefined) return;
    this.#entries.delete(oldest.key);
    this.#calls.delete(oldest.key);
    if (oldest.operation === "authorize" || oldest.operation === "void")
      this.#authorizations.delete(oldest.authorizationKey);
  }
}

/** True for that share of all keys; it depends on the key and the purpose alone. */
function isAmong(key: string, purpose: string, rate: number): boolean {
  if (rate <= 0 || rate >= 1) return rate >= 1;
  return createHash("sha256").update(`${purpose}/${key}`).digest().readUInt32BE(0) / 2 ** 32 < rate;
}
