import type { Clock, TimerHandle } from "../../../platform/clock.ts";
import { LeaseSchema, type Lease } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Bus, StoredMessage, Subscription } from "../bus/bus.ts";
import { LIMITS } from "../limits.ts";
import { fnv1a, type Topology } from "../topology.ts";
import { encode } from "../codec/encode.ts";
import { decode } from "../codec/decode.ts";
import { create } from "../codec/create.ts";

/** What membership needs. */
export interface MembershipOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly topology: Topology;
  readonly group: string;
  readonly workerId: string;
  readonly contracts: string;
  /** Hashes of the rpcs that this build understands, see {@link rpcHash}. */
  readonly knows: readonly number[];
}

/** Names an rpc of an actor in a lease. */
export function rpcHash(kind: string, method: string): number {
  return fnv1a(`${kind}.${method}`);
}

interface Member {
  readonly lease: Lease;
  /** Monotonic time of the newest renewal. */
  readonly seenMs: number;
  /** Time of the same by the clock of the server. */
  readonly storedMs: number;
  /** So often in a row the server has said since then that the worker is not connected. */
  missed: number;
  isAsked: boolean;
}

/** A worker that was never heard of, or not since its lease ran out by the server's clock, has this long to show up. */
const UNSEEN_MS_MAX = 1_000;
/** A worker that has left out so many renewals is asked whether it is there. */
const ASKED_AFTER_RENEWALS = 2;
/** A server that has just come back may not know everybody yet: it must say it twice. */
const MISSED_MIN = 2;
const NOTHING = new Uint8Array(0);
/** Own renewals that we wait to see. */
const BEATS_KEPT_MAX = 64n;

/**
 * Who is alive in a group: leases in a bucket, renewed all the time, watched by all. A worker whose lease is not
 * renewed is asked; where the server says that it is not connected, its lease runs out sooner, so that one that was
 * killed is replaced at once and one that is busy keeps its logs. Serves liveness alone; safety is the
 * compare-and-set of the journal. Judged by own monotonic time, and only while connected.
 */
export class Membership {
  readonly #options: MembershipOptions;
  readonly #members = new Map<string, Member>();
  readonly #subject: string;
  #reader: Subscription | undefined;
  #answering: Subscription | undefined;
  #timer: TimerHandle | undefined;
  #beat = 0n;
  #startedMs: bigint;
  #isLeaving = false;
  /** Logs left to builds that know an rpc which this one does not, by that rpc's hash. */
  readonly #declined = new Map<number, number>();
  /** Since when we have been connected and heard everybody. */
  #listeningSinceMs = Infinity;
  #renewedSentMs = -Infinity;
  #unbrokenSinceMs = Infinity;
  /** When our renewals were sent that we have not seen yet, by beat. */
  readonly #sentMs = new Map<bigint, number>();
  /** When the newest of our own renewals that we have seen was sent, and stored by the clock of the server. */
  #heardMs = -Infinity;
  #storedMs = -Infinity;
  #isClosed = false;

  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#subject = options.topology.lease(options.group, options.workerId);
    this.#startedMs = BigInt(options.clock.nowMs());
  }

  start(): void {
    const { bus, topology, group, workerId } = this.#options;
    const own = topology.worker(group, workerId);
    this.#answering = bus.subscribe(own, ({ replyTo }) => bus.publish(replyTo, NOTHING));
    this.#reader = bus.read({
      stream: topology.streams.leases,
      filters: [topology.filters.leases(group)],
      from: "last-per-subject",
      onMessage: (message) => this.#onLease(message),
      onCaughtUp: () => {
        if (this.#listeningSinceMs === Infinity) this.#listeningSinceMs = this.#options.clock.monotonicMs();
      },
    });
    void this.#renew();
  }

  /** Monotonic time at which the last acked renewal was sent; -Infinity before the first. */
  get renewedSentMs(): number {
    return this.#renewedSentMs;
  }

  /** Monotonic time since which the lease has never run out: who took a log over meanwhile did so before. */
  get unbrokenSinceMs(): number {
    return this.#unbrokenSinceMs;
  }

  /** Call regularly: while there is no connection nobody can be judged. */
  tick(): void {
    for (const [log, rpc] of this.#declined) if (!this.#isKnown(rpc)) this.#declined.delete(log);
    if (!this.#options.bus.isConnected()) {
      this.#listeningSinceMs = this.#options.clock.monotonicMs();
      for (const member of this.#members.values()) member.missed = 0;
    }
    for (const [worker, member] of this.#members) {
      const isLate = this.#silentMs(member) > LIMITS.leaseRenewMs * ASKED_AFTER_RENEWALS;
      if (isLate && worker !== this.#options.workerId) void this.#ask(worker, member);
    }
  }

  /** Live workers that take logs, this one included once its lease is stored; sorted. */
  live(): readonly string[] {
    const nowMs = this.#options.clock.monotonicMs();
    const live = [...this.#members].filter(
      ([, member]) => !member.lease.leaving && nowMs - member.seenMs <= leaseMsOf(member),
    );
    return live.map(([worker]) => worker).sort();
  }

  /**
   * Names this life of the worker in the journal: a restarted worker keeps its id and owns nothing. Else a log of
   * its last life that is now another's share would be nobody's: its owner seems alive and does not know of it.
   */
  get life(): string {
    return `${this.#options.workerId}@${this.#startedMs.toString(36)}`;
  }

  /** True if the lease of this life of a worker has certainly run out. */
  isGone(life: string): boolean {
    const { worker, startedMs } = partsOf(life);
    if (worker === this.#options.workerId) return life !== this.life;
    const member = this.#members.get(worker);
    if (member === undefined) return this.#heardMs - this.#listeningSinceMs > UNSEEN_MS_MAX;
    if (startedMs !== undefined && member.lease.startedMs !== startedMs) return true;
    // One that has just begun to listen need not wait for a lease that ran out long before.
    const hasRunOut = this.#storedMs - member.storedMs > LIMITS.leaseMs;
    return this.#silentMs(member) > (hasRunOut ? UNSEEN_MS_MAX : leaseMsOf(member));
  }

  /**
   * How long a worker has certainly not renewed its lease: all renewals before the newest of our own that we have seen
   * have come, silence since then may be our own deafness.
   */
  #silentMs({ seenMs }: Member): number {
    return this.#heardMs - Math.max(seenMs, this.#listeningSinceMs);
  }

  /** Asks the server whether a worker is connected. One that is frozen or busy is, and does not answer. */
  async #ask(worker: string, member: Member): Promise<void> {
    if (member.isAsked) return;
    member.isAsked = true;
    const { bus, topology, group } = this.#options;
    const answer = await bus.request(topology.worker(group, worker), NOTHING, LIMITS.leaseRenewMs);
    member.isAsked = false;
    member.missed = answer === "nobody" ? member.missed + 1 : 0;
  }

  /**
   * True once this life of a worker has renewed its lease after `sinceMs` (monotonic), false once it has not for as
   * long as a lease holds, or another life has begun; undefined until one can tell.
   */
  hasLivedOn(life: string, sinceMs: number): boolean | undefined {
    if (life === this.life) return true;
    const { worker, startedMs = 0n } = partsOf(life);
    const { lease, seenMs = -Infinity } = this.#members.get(worker) ?? {};
    if (lease !== undefined && lease.startedMs > startedMs) return false;
    if (lease?.startedMs === startedMs && seenMs > sinceMs) return true;
    return this.#heardMs - sinceMs > LIMITS.leaseMs ? false : undefined;
  }

  /** False if no other build has been in the group of late. Cheap: asked for each outcome and firing. */
  hasOtherBuild(): boolean {
    for (const { lease } of this.#members.values())
      if (lease.contracts !== this.#options.contracts) return true;
    return false;
  }

  /** Leaves a log to a live worker that understands an rpc which this one does not; false if there is none. */
  decline(log: number, kind: string, method: string): boolean {
    const rpc = rpcHash(kind, method);
    if (!this.#isKnown(rpc)) return false;
    this.#declined.set(log, rpc);
    void this.#store();
    return true;
  }

  /**
   * How little a worker should take a log: most if it has left it to those that understand more. One that has just
   * come waits where others are: it cannot tell yet how long an owner has been silent, and they can.
   */
  reluctance(worker: string, log: number): number {
    const lease = this.#members.get(worker)?.lease;
    const isOwn = worker === this.#options.workerId;
    const hasLeft = isOwn ? this.#declined.has(log) : lease?.declines.includes(log) === true;
    const isNew = lease !== undefined && !isSettled(lease);
    return (hasLeft ? 2 : 0) + (isNew ? 1 : 0);
  }

  #isKnown(rpc: number): boolean {
    const others = this.live().filter((worker) => worker !== this.#options.workerId);
    return others.some((worker) => this.#members.get(worker)?.lease.knows.includes(rpc));
  }

  /** Says that this worker takes no more logs. */
  async leave(): Promise<void> {
    this.#isLeaving = true;
    await this.#store();
  }

  /** Takes the lease back and stops. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#reader?.close();
    this.#answering?.close();
    await this.#options.bus.append({
      subject: this.#subject,
      data: NOTHING,
      headers: { "KV-Operation": "DEL" },
    });
  }

  #onLease(message: StoredMessage): void {
    const worker = message.subject.slice(message.subject.lastIndexOf(".") + 1);
    if (message.data.length === 0) return void this.#members.delete(worker);
    const lease = decode(LeaseSchema, message.data);
    const { timestampMs: storedMs } = message;
    if (worker === this.#options.workerId && lease.startedMs === this.#startedMs) {
      this.#hear(lease.beat);
      this.#storedMs = storedMs;
    }
    const seenMs = this.#options.clock.monotonicMs();
    this.#members.set(worker, { lease, seenMs, storedMs, missed: 0, isAsked: false });
  }

  #hear(beat: bigint): void {
    this.#heardMs = Math.max(this.#heardMs, this.#sentMs.get(beat) ?? -Infinity);
    for (const older of this.#sentMs.keys()) if (older <= beat) this.#sentMs.delete(older);
  }

  async #renew(): Promise<void> {
    if (this.#isClosed) return;
    const timer = this.#options.clock.setTimer(() => void this.#renew(), LIMITS.leaseRenewMs);
    this.#timer = timer;
    await this.#store();
  }

  async #store(): Promise<void> {
    const { bus, clock, group, workerId: worker, contracts, knows } = this.#options;
    const lease = create(LeaseSchema, {
      worker,
      group,
      contracts,
      startedMs: this.#startedMs,
      beat: ++this.#beat,
      leaving: this.#isLeaving,
      knows: [...knows],
      declines: [...this.#declined.keys()],
    });
    const sentMs = clock.monotonicMs();
    this.#sentMs.set(this.#beat, sentMs);
    this.#sentMs.delete(this.#beat - BEATS_KEPT_MAX);
    const outcome = await bus.append({ subject: this.#subject, data: encode(LeaseSchema, lease) });
    if (outcome.kind !== "stored") return;
    if (clock.monotonicMs() - this.#renewedSentMs > LIMITS.leaseSuspectMs) this.#unbrokenSinceMs = sentMs;
    this.#renewedSentMs = Math.max(this.#renewedSentMs, sentMs);
  }
}

/** What {@link Membership.life} is made of; announcements of older builds name nobody. */
function partsOf(life: string): { readonly worker: string; readonly startedMs: bigint | undefined } {
  const [worker = "", started] = life.split("@");
  return { worker, startedMs: started === undefined ? undefined : BigInt(parseInt(started, 36)) };
}

/** True for a worker that has heard the others for longer than an owner without connection is waited for. */
function isSettled({ beat }: Lease): boolean {
  return (Number(beat) - 1) * LIMITS.leaseRenewMs > LIMITS.leaseSuspectMs;
}

/** After so long without a renewal a worker is gone. */
function leaseMsOf({ missed }: Member): number {
  return missed >= MISSED_MIN ? LIMITS.leaseSuspectMs : LIMITS.leaseMs;
}
