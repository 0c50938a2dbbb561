import { create, toBinary } from "@bufbuild/protobuf";
import { sleep } from "../../platform/clock.ts";
import {
  BundleSchema,
  type DeadLetter,
  EntrySchema,
} from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import {
  SimActor,
  type SimReply,
  SimStateSchema,
} from "../../proto/gen/tradewind/actors/sim/v1/sim_actor_pb.ts";
import { CallError, type ActorClient } from "../../actors/runtime/client.ts";
import { DomainError } from "../../actors/runtime/domain-error.ts";
import type { Dice } from "./dice.ts";
import type { Report } from "./fold.ts";
import type { Observer } from "./observer.ts";
import { isShortLived } from "./plan-short-lived.ts";
import { isPrivate } from "./private-keys.ts";
import type { CallOp, PoisonOp, ReadOp } from "./plan.ts";
import type { Member, System } from "./system.ts";

/** What callers know of one command. */
export interface CallRecord {
  readonly op: CallOp;
  /** The first definite answer: `ok <diary>`, `no <reason>`, or `dead`. */
  answer: string | undefined;
  /** An attempt ended in doubt, or never ended. */
  isDoubtful: boolean;
  /** Moments of the first attempt, and of the first definite answer. */
  readonly startedAt: number;
  endedAt: number;
}

/** What its owner has said of an actor whose every answer tells of its balance. */
export interface Reading {
  readonly tenant: string;
  readonly key: string;
  readonly startedAt: number;
  readonly endedAt: number;
  /** Undefined: it is not there. */
  readonly balance: bigint | undefined;
}

/** What one client process has learnt: its reads must not fall behind it. */
interface Knowledge {
  /** Ops that the actor has acked, by record. */
  readonly acked: Map<string, string[]>;
  readonly revisions: Map<string, bigint>;
}

const CALM_TIMEOUT_MS = 10_000;
const RETRY_AFTER_MS = 50;

const emptyKnowledge = (): Knowledge => ({ acked: new Map(), revisions: new Map() });

/** Commands and reads as clients send them, and what every single answer must satisfy. */
export class Workload {
  readonly calls = new Map<string, CallRecord>();
  readonly readings: Reading[] = [];
  /** Counts starts and ends of what callers do. */
  #moment = 0;
  readonly #system: System;
  readonly #observer: Observer;
  readonly #dice: Dice;
  readonly #report: Report;
  readonly #trace: (text: () => string) => void;
  readonly #all = emptyKnowledge();
  readonly #own = new WeakMap<ActorClient, Knowledge>();
  readonly #flights = new Set<{ readonly member: Member; readonly record: CallRecord }>();
  reads = 0;

  constructor(
    system: System,
    observer: Observer,
    dice: Dice,
    report: Report,
    trace: (text: () => string) => void,
  ) {
    this.#system = system;
    this.#observer = observer;
    this.#dice = dice;
    this.#report = report;
    this.#trace = trace;
  }

  start(op: CallOp | ReadOp | PoisonOp): void {
    if (op.type === "poison") return void this.#poison(op);
    const clients = this.#system.clients();
    if (op.type === "read") {
      if (clients.length > 0) void this.#read(this.#dice.pick(clients), op);
      return;
    }
    const startedAt = ++this.#moment;
    const record: CallRecord = { op, answer: undefined, isDoubtful: false, startedAt, endedAt: Infinity };
    this.calls.set(op.script.op, record);
    if (clients.length === 0) return;
    for (let i = op.isTwice ? 2 : 1; i > 0; i--)
      void this.#call(this.#dice.pick(clients), record, op.isPatient);
  }

  /** Reads every record. */
  readAll(member: Member, tenants: readonly string[], keys: readonly string[]): void {
    for (const tenant of tenants)
      for (const key of keys) void this.#read(member, { type: "read", atMs: 0, tenant, key });
  }

  /** Faults are over: some commands in doubt are asked again until they are answered, some answered ones once more. */
  settle(): void {
    for (const record of this.calls.values()) {
      const [client] = this.#system.clients();
      if (client === undefined) throw new Error("there is a client after healing");
      if (record.answer === undefined && this.#dice.chance(0.7)) void this.#call(client, record, true);
      else if (record.answer !== undefined && this.#dice.chance(0.2)) void this.#call(client, record, true);
      if (isShortLived(record.op.key)) continue; // its key ends with the record
      if (record.answer?.startsWith("ok") === true && this.#dice.chance(0.1))
        void this.#misuse(client, record);
    }
  }

  /** A command that somebody still asks for. */
  pending(): string | undefined {
    for (const flight of this.#flights) {
      if (flight.member.process.isAlive) return `call ${flight.record.op.script.op} is not answered`;
      flight.record.isDoubtful = true; // its caller is gone
      this.#flights.delete(flight);
    }
    return undefined;
  }

  async #call(member: Member, record: CallRecord, isPatient: boolean): Promise<void> {
    const { process, client } = member;
    if (client === undefined) return;
    const { op } = record;
    const { tenant, key, script, method } = op;
    const flight = { member, record };
    this.#flights.add(flight);
    for (;;) {
      try {
        const timeoutMs = this.#system.isCalm ? CALM_TIMEOUT_MS : op.timeoutMs;
        const options = { requestId: script.op, timeoutMs };
        const { message } = await client.call(SimActor.method[method], { tenant, key }, script, options);
        this.#onReply(client, record, message);
        break;
      } catch (error) {
        if (this.#onFailure(record, error)) break;
      }
      if (!isPatient && !this.#system.isCalm) break;
      await sleep(process.clock, RETRY_AFTER_MS);
      if (member.isStopping) break;
    }
    this.#flights.delete(flight);
  }

  #onReply(client: ActorClient, record: CallRecord, { op, diary, balance }: SimReply): void {
    const { tenant, key, script } = record.op;
    const name = `sim.${tenant}.${key}`;
    this.#trace(() => `answer ${script.op}: ok ${diary}`);
    if (op !== script.op) this.#report("one consistent answer", `${script.op} is answered for ${op}`);
    const { fold } = this.#observer;
    const versions = fold.records.get(name)?.slice(isShortLived(key) ? 0 : -1) ?? [];
    if (!versions.some((version) => fold.state(version).diary.includes(op)))
      this.#report("answered only after the commit", `${op} of ${name} is answered and not committed`);
    this.#answered(record, isPrivate(key) ? `ok ${balance}` : `ok ${diary}`);
    for (const { acked } of [this.#all, this.#knowledge(client)]) {
      const ops = acked.get(name);
      if (ops === undefined) acked.set(name, [op]);
      else ops.push(op);
    }
  }

  #answered(record: CallRecord, answer: string): void {
    if (isShortLived(record.op.key)) return void (record.answer ??= answer); // its key ends with the record
    if (record.answer === "dead") record.answer = undefined; // a defect is not remembered: the repeat is tried again
    if (answer === "dead" && record.answer !== undefined && this.#diedFirst(record)) return;
    // What is in the dead letters may have its effect later.
    if (record.answer === undefined && answer !== "dead") record.endedAt = ++this.#moment;
    record.answer ??= answer;
    if (record.answer !== answer)
      this.#report("one consistent answer", `${record.op.script.op}: ${answer}, before: ${record.answer}`);
  }

  /** An earlier copy went to the dead letters, and the word of it comes late. */
  #diedFirst({ op: { tenant, key, script } }: CallRecord): boolean {
    const { fold } = this.#observer;
    const isOf = ({ entry }: DeadLetter) =>
      entry?.source.case === "request" && entry.source.value.id === script.op;
    const letter = [...fold.deadLetters.values()].find(isOf);
    const settled = fold.records
      .get(`sim.${tenant}.${key}`)
      ?.find((version) => fold.meta(version).answers.some(({ requestId }) => requestId === script.op));
    if (letter === undefined || settled === undefined) return false;
    return (fold.letterSequences.get(letter.id) ?? Infinity) <= settled.sequence;
  }

  /** @returns true for a definite answer */
  #onFailure(record: CallRecord, error: unknown): boolean {
    const { op } = record.op.script;
    this.#trace(() => `answer ${op}: ${String(error)}`);
    if (error instanceof DomainError) {
      this.#answered(record, error.reason === "CRASH_LOOP" ? "dead" : `no ${error.reason}`);
      return true;
    }
    if (!(error instanceof CallError)) {
      this.#report("errors are CallError or DomainError", `${op}: ${String(error)}`);
      return true;
    }
    if (error.kind === "defect") {
      this.#answered(record, "dead");
      return true;
    }
    if (error.kind === "timeout") record.isDoubtful = true;
    return false;
  }

  /** The same request id with another message. */
  async #misuse(member: Member, record: CallRecord): Promise<void> {
    const { tenant, key, script, method, timeoutMs } = record.op;
    const other = { ...script, amount: 1_000_000n };
    try {
      const options = { requestId: script.op, timeoutMs };
      await member.client?.call(SimActor.method[method], { tenant, key }, other, options);
      this.#report("a key is for one message", `${script.op} was accepted with another one`);
    } catch (error) {
      if (error instanceof CallError) return;
      const isRight = error instanceof DomainError && error.reason === "IDEMPOTENCY_KEY_REUSED";
      if (!isRight) this.#report("a key is for one message", `${script.op}: ${String(error)}`);
    }
  }

  #knowledge(client: ActorClient): Knowledge {
    const known = this.#own.get(client) ?? emptyKnowledge();
    this.#own.set(client, known);
    return known;
  }

  async #read({ client }: Member, { tenant, key }: ReadOp): Promise<void> {
    if (client === undefined) return;
    const name = `sim.${tenant}.${key}`;
    const snapshot = ({ acked, revisions }: Knowledge) => ({
      acked: acked.get(name)?.slice() ?? [],
      revision: revisions.get(name) ?? 0n,
    });
    const own = this.#knowledge(client);
    const [allBefore, ownBefore] = [snapshot(this.#all), snapshot(own)];
    const startedAt = ++this.#moment;
    let result;
    try {
      result = await client.read("sim", SimStateSchema, { tenant, key });
    } catch (error) {
      if (!(error instanceof CallError)) this.#report("errors are CallError or DomainError", String(error));
      return;
    }
    this.reads++;
    const { state, revision, asOfMs } = result;
    if (isPrivate(key) && asOfMs === undefined)
      this.readings.push({ tenant, key, startedAt, endedAt: ++this.#moment, balance: state?.balance });
    const where = asOfMs === undefined ? "its owner" : "the bucket";
    this.#trace(() => `read ${name} from ${where}: revision ${revision}, ${state?.diary.join(" ")}`);
    this.#checkCommitted(name, revision, state?.diary ?? []);
    const before = asOfMs === undefined ? allBefore : ownBefore;
    const missing = before.acked.find((op) => state?.diary.includes(op) !== true);
    if (missing !== undefined)
      this.#report(
        "J23 reads are not stale",
        `${name} from ${where} lacks ${missing}, acked before it was read`,
      );
    if (revision < before.revision)
      this.#report("J23 reads never go back", `${name} from ${where}: ${revision} after ${before.revision}`);
    for (const { revisions } of asOfMs === undefined ? [this.#all, own] : [own])
      if (revision > (revisions.get(name) ?? 0n)) revisions.set(name, revision);
  }

  #checkCommitted(name: string, revision: bigint, diary: readonly string[]): void {
    if (revision === 0n && diary.length === 0) return;
    const { fold } = this.#observer;
    const version = fold.records.get(name)?.findLast((v) => fold.meta(v).revision === revision);
    if (version !== undefined && fold.state(version).diary.join() === diary.join()) return;
    this.#report(
      "J7 reads see only what is committed",
      `${name}: revision ${revision} with ${diary.join(" ")}`,
    );
  }

  async #poison({ kind, tenant, key, op }: PoisonOp): Promise<void> {
    const { topology } = this.#system;
    const subject = topology.inbox("core", topology.logOf("core", tenant, key));
    const entry = {
      kind: kind === "kind" ? "nothing" : "sim",
      tenant,
      key,
      method: kind === "method" ? "Nothing" : "Receive",
      body: kind === "body" ? Buffer.from([0xff, 0xff, 0xff]) : new Uint8Array(0),
      trace: op,
    };
    const good = toBinary(BundleSchema, create(BundleSchema, { entries: [create(EntrySchema, entry)] }));
    const data = kind === "bytes" ? Buffer.from([0xff, 0xff, ...Buffer.from(op)]) : good;
    const { clock, bus } = this.#observer;
    while ((await bus.append({ subject, data })).kind !== "stored") await sleep(clock, RETRY_AFTER_MS);
  }
}
