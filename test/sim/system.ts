import { createActorClient } from "../../actors/runtime/client/actor-client.ts";
import {
  MemoryNats,
  noFaults,
  randomFaults,
  type MemoryFaults,
} from "../../actors/runtime/bus/bus-memory.ts";
import type { ActorClient } from "../../actors/runtime/client.ts";
import { startTaskWorker } from "../../actors/runtime/tasks/task-worker.ts";
import { streamPlans } from "../../actors/runtime/bus/stream-plan.ts";
import { createTopology, type Topology } from "../../actors/runtime/topology.ts";
import { startWorker, type Worker } from "../../actors/runtime/worker/worker.ts";
import { Dice } from "./dice.ts";
import { diaryActor, restingQueue, simProjection, simQueue, without } from "./diary-actor.ts";
import { OBSERVER } from "./observer.ts";
import type { Plan } from "./plan.ts";
import type { Fault, Restart, Role } from "./plan-faults.ts";
import { Provider } from "./provider.ts";
import { simLogger } from "./sim-logger.ts";
import { SimProcess } from "./sim-process.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** A process with what runs in it. */
export interface Member {
  readonly process: SimProcess;
  readonly role: Role;
  readonly id: string;
  /** Of the build that is on its way out. */
  readonly isOld: boolean;
  readonly client: ActorClient | undefined;
  readonly worker: Worker | undefined;
  /** Ends it as SIGTERM does. */
  readonly stop: () => Promise<void>;
  isStopping: boolean;
}

/** What the schedule hears of its system. */
export interface SystemEvents {
  readonly trace: (text: () => string) => void;
  readonly report: (invariant: string, detail: string) => void;
  readonly onClient: (member: Member) => void;
  /** This client ought to read everything now. */
  readonly onDoubt: (member: Member) => void;
}

/** What a worker says of a log that it must not touch. */
const HALTED = "the log stands still: an operator must act";
const PROBES_MS = [0, 1, 20, 200];
/** While nobody answers for a log, reads come from the bucket. */
const PROBES_OF_A_SILENT_LOG_MS = [50, 250, 500];
const GROUP: Partial<Record<Role, string>> = { worker: "core", analytics: "analytics" };
/** A process that a message has killed is started again by whoever watches over it. */
const KILLED_RESTART_MS = 60;
/** After the new build has come, a process of the old one moves to another machine. */
const OLD_RESTART_MS = 200;

/** The processes of one schedule, the server that they share, and what goes wrong with them. */
export class System {
  readonly topology: Topology;
  readonly nats: MemoryNats;
  readonly provider: Provider;
  isCalm = false;
  /** A stream is not what it was: workers say so. */
  isDamaged = false;
  /** Scripts that throw or kill do so. */
  isBroken = true;
  readonly #plan: Plan;
  readonly #time: VirtualTime;
  readonly #dice: Dice;
  readonly #events: SystemEvents;
  readonly #members: Member[] = [];
  readonly #starts = new Set<string>();
  #spawned = 0;

  constructor(plan: Plan, time: VirtualTime, events: SystemEvents) {
    this.#plan = plan;
    this.#time = time;
    this.#events = events;
    this.#dice = new Dice(plan.seed, "system");
    const { logs, analyticsLogs, replicas, seed, dedupeWindowMs } = plan;
    this.topology = createTopology({ logs, analyticsLogs });
    const clock = time.clock();
    const faults = exceptObserver(randomFaults(new Dice(seed, "requests").random, plan.rates));
    this.nats = new MemoryNats({ clock, random: new Dice(seed, "routes").random, faults });
    const plans = streamPlans(this.topology, { replicas });
    this.nats.createStreams(plans.map((stream) => ({ ...stream, dedupeWindowMs })));
    this.nats.ensure(this.topology, { replicas });
    const onOddity = (text: string) => events.report("tasks keep their key", text);
    this.provider = new Provider(new Dice(seed, "provider"), plan.provider, () => this.isCalm, onOddity);
  }

  start(): void {
    const { workers, analyticsWorkers, taskWorkers, clients } = this.#plan;
    const isOld = this.#plan.skew !== undefined;
    for (let i = 0; i < workers; i++) this.spawn("worker", undefined, isOld);
    for (let i = 0; i < analyticsWorkers; i++) this.spawn("analytics");
    for (let i = 0; i < taskWorkers; i++) this.spawn("tasks");
    for (let i = 0; i < clients; i++) this.spawn("client");
  }

  /** Processes that run, frozen ones included. */
  members(role: Role): readonly Member[] {
    return this.#members.filter(
      (member) => member.role === role && member.process.isAlive && !member.isStopping,
    );
  }

  clients(): readonly Member[] {
    return this.members("client").filter(({ process }) => !process.isFrozen);
  }

  spawn(role: Role, id = `${role}${this.#spawned}`, isOld = false): Member {
    const { seed, skewMsMax } = this.#plan;
    let skewMs = this.#dice.integer(-skewMsMax, skewMsMax);
    // Two lives of a worker are told apart by when they began, as their clock has it.
    while (this.#starts.has(`${id} ${this.#time.nowMs + skewMs}`)) skewMs++;
    this.#starts.add(`${id} ${this.#time.nowMs + skewMs}`);
    const process = new SimProcess({
      time: this.#time,
      nats: this.nats,
      seed,
      name: `${id}#${this.#spawned++}`,
      skewMs,
      staleness: () => this.#staleness(),
    });
    this.#events.trace(() => `start ${process.name}`);
    const parts = this.#run(role, id, process, isOld);
    const member = { process, role, id, isOld, isStopping: false, ...parts };
    this.#members.push(member);
    if (member.client !== undefined) this.#events.onClient(member);
    return member;
  }

  apply(fault: Fault): void {
    switch (fault.type) {
      case "server-down":
        return this.#stopServer(fault.forMs);
      case "full":
        return this.#fill(this.topology.streams[fault.stream], fault.forMs);
      case "delete-consumer":
        return this.nats.deleteConsumers(this.topology.streams.tasks);
      case "join":
        return void this.spawn(fault.role);
      case "upgrade":
        return this.#upgrade(fault.restartsOld);
      default:
    }
    const members = this.members(fault.role);
    if (members.length === 0) return;
    const member = this.#dice.pick(members);
    if (fault.type === "crash") this.#crash(member, fault.restart);
    else if (fault.type === "freeze") this.#freeze(member, fault.forMs, fault.timersFirst);
    else if (fault.type === "stop") this.#stop(member, fault.restart);
    else this.#crashAtWrite(member, fault);
  }

  /** Faults are over: the server answers, who is frozen goes on, each role has a process. */
  heal(): void {
    this.isCalm = true;
    this.nats.faults = noFaults;
    this.nats.start();
    for (const stream of Object.values(this.topology.streams)) this.nats.setBytesMax(stream, Infinity);
    for (const member of this.#members.slice()) {
      member.process.bus.onWrite = undefined;
      if (member.process.isFrozen) this.#resume(member, true);
    }
    for (const role of ["worker", "analytics", "tasks", "client"] as const)
      if (this.members(role).length === 0) this.spawn(role);
    const { skew } = this.#plan;
    if (skew === undefined) return;
    const workers = this.members("worker");
    if (workers.every(({ isOld }) => isOld)) this.spawn("worker");
    if (skew.keepsOld) return;
    for (const member of workers) if (member.isOld) this.#stop(member, undefined);
  }

  /** Nothing runs any more: somebody works on the store. */
  crashAll(): void {
    for (const { process } of this.#members) process.crash();
    this.isDamaged = true;
  }

  /** Every process ends. @param isStopped whether the next one is told before */
  async endAll(isStopped: () => boolean): Promise<void> {
    const alive = this.#members.filter(({ process }) => process.isAlive);
    const stops = alive.filter(isStopped).map((member) => {
      member.isStopping = true;
      return member.stop();
    });
    await Promise.all(stops);
    for (const { process } of alive) process.crash();
  }

  /** Ends everything, so that nothing of the schedule outlives it. */
  close(): void {
    for (const { process } of this.#members) process.crash();
    this.nats.close();
  }

  #run(
    role: Role,
    id: string,
    process: SimProcess,
    isOld: boolean,
  ): Pick<Member, "client" | "worker" | "stop"> {
    const { clock, random, bus } = process;
    const { topology } = this;
    const { trace, report } = this.#events;
    const isExpected = (text: string) => this.isDamaged && text === HALTED;
    const log = simLogger({ name: process.name, trace, report, isAlive: () => process.isAlive, isExpected });
    const base = { bus, clock, random, log, topology };
    const { areRestsLong, eventsAgeMsMax } = this.#plan;
    const queue = areRestsLong ? restingQueue : simQueue;
    const services = [this.provider.service(clock, queue)];
    const serve = () => startTaskWorker({ ...base, services, inFlightMax: 4 });
    const group = GROUP[role];
    if (group !== undefined) {
      const kill = () => this.#killed(role, id, process, isOld);
      const diary = diaryActor({ isBroken: () => this.isBroken, queue, kill });
      const actors = [isOld ? without(diary, this.#plan.skew?.lacks ?? []) : diary];
      const tasks = role === "worker" && this.#plan.tasksAtHome ? serve() : undefined;
      const options = { ...base, group, workerId: id, actors, projections: [simProjection] };
      const upkeep = eventsAgeMsMax === undefined ? {} : { eventsAgeMsMax };
      const worker = startWorker({ ...options, ...upkeep, ...(tasks && { tasks }) });
      const stop = async () => {
        await tasks?.stop();
        await worker.stop();
      };
      return { client: undefined, worker, stop };
    }
    if (role === "tasks") {
      const tasks = serve();
      return { client: undefined, worker: undefined, stop: () => tasks.stop() };
    }
    const client = createActorClient({ ...base, clientId: process.name.replace("#", "-") });
    return { client, worker: undefined, stop: () => client.close() };
  }

  #staleness(): number {
    const { staleRangeRate, staleRangeMsMax } = this.#plan;
    return !this.isCalm && this.#dice.chance(staleRangeRate) ? this.#dice.integer(1, staleRangeMsMax) : 0;
  }

  /** A message has taken its process along. */
  #killed(role: Role, id: string, process: SimProcess, isOld: boolean): void {
    if (!process.isAlive) return;
    this.#events.trace(() => `${process.name} is killed by a message`);
    process.crash();
    this.#time.setTimer(() => this.spawn(role, id, isOld), KILLED_RESTART_MS);
  }

  #crash({ process, role, id, isOld }: Member, { afterMs, keepsId }: Restart): void {
    if (!process.isAlive) return;
    this.#events.trace(() => `crash ${process.name}`);
    process.crash();
    this.#time.setTimer(() => this.spawn(role, keepsId ? id : undefined, isOld), afterMs);
  }

  #crashAtWrite(member: Member, fault: Extract<Fault, { type: "crash-at-write" }>): void {
    let left = fault.after;
    const onWrite = (subject: string) => {
      if (!subject.startsWith(fault.subject) || left-- > 0) return;
      member.process.bus.onWrite = undefined;
      this.#events.trace(
        () => `${member.process.name} writes ${subject}, and dies ${fault.delayMs ?? "before"}`,
      );
      if (fault.delayMs === undefined) this.#crash(member, fault.restart);
      else this.#time.setTimer(() => this.#crash(member, fault.restart), fault.delayMs);
    };
    member.process.bus.onWrite = onWrite;
  }

  #freeze(member: Member, forMs: number, timersFirst: boolean): void {
    const { process, role } = member;
    this.#events.trace(() => `freeze ${process.name} for ${forMs}`);
    process.freeze();
    if (role === "worker") this.#probe(PROBES_OF_A_SILENT_LOG_MS);
    this.#time.setTimer(() => {
      if (process.isFrozen) this.#resume(member, timersFirst);
    }, forMs);
  }

  /** What a paused owner believes shows when it goes on: a client that knows nothing asks for everything. */
  #resume({ process, role }: Member, timersFirst: boolean): void {
    this.#events.trace(() => `resume ${process.name}`);
    if (role === "worker") this.#probe(PROBES_MS);
    process.resume(timersFirst);
  }

  #probe(afterMs: readonly number[]): void {
    const client = this.spawn("client");
    for (const ms of afterMs) this.#time.setTimer(() => this.#events.onDoubt(client), ms);
  }

  /** @param restart undefined: it does not come back */
  #stop(member: Member, restart: Restart | undefined): void {
    member.isStopping = true;
    this.#events.trace(() => `stop ${member.process.name}`);
    void member.stop().then(() => {
      this.#events.trace(() => `${member.process.name} has stopped`);
      member.process.crash();
      if (restart === undefined) return;
      const { role, isOld } = member;
      const id = restart.keepsId ? member.id : undefined;
      this.#time.setTimer(() => this.spawn(role, id, isOld), restart.afterMs);
    });
  }

  #upgrade(restartsOld: boolean): void {
    this.spawn("worker");
    const old = this.members("worker").find(({ isOld }) => isOld);
    if (!restartsOld || old === undefined) return;
    this.#time.setTimer(() => this.#crash(old, { afterMs: 50, keepsId: false }), OLD_RESTART_MS);
  }

  #stopServer(forMs: number): void {
    this.#events.trace(() => `server down for ${forMs}`);
    this.nats.stop();
    this.#time.setTimer(() => this.nats.start(), forMs);
  }

  #fill(stream: string, forMs: number): void {
    this.#events.trace(() => `${stream} is full for ${forMs}`);
    this.nats.setBytesMax(stream, 1);
    this.#time.setTimer(() => this.nats.setBytesMax(stream, Infinity), forMs);
  }
}

function exceptObserver(faults: MemoryFaults): MemoryFaults {
  return {
    ...faults,
    operation: (operation) => (operation.connection === OBSERVER ? undefined : faults.operation(operation)),
    delivery: (delivery) => (delivery.connection === OBSERVER ? undefined : faults.delivery(delivery)),
  };
}
