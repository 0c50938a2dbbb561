import { describe, expect, it } from "vitest";
import type { Bus, Delivery, StoredMessage } from "./bus.ts";
import { bytes, type ContractContext, storedSequence, text } from "./bus-context.contract.ts";

/** How messages get to those that read them, on both buses. */
export function consumeContract(c: ContractContext): void {
  describe("readers", () => {
    const collect = (
      filters: readonly string[],
      from: Parameters<Bus["read"]>[0]["from"],
      stream = c.t.streams.inbox,
    ) => {
      const seen: StoredMessage[] = [];
      const caughtUpAt: number[] = [];
      const subscription = c.bus.read({
        stream,
        filters,
        from,
        onMessage: (message) => seen.push(message),
        onCaughtUp: () => caughtUpAt.push(seen.length),
      });
      return { seen, caughtUpAt, close: () => subscription.close() };
    };

    it("start at a sequence, say when they have caught up, and go on", async () => {
      const [mine, other, both] = [c.fresh(), c.fresh(), c.fresh()].map((at) => c.t.inbox("core", at)) as [
        string,
        string,
        string,
      ];
      const sequences: number[] = [];
      for (const subject of [mine, other, both, mine, both]) sequences.push(await c.append(subject));
      const reader = collect([mine, both], { sequence: sequences[2] ?? 0 });
      await c.until(() => reader.caughtUpAt.includes(3), "caught up");
      expect(reader.seen.map(({ sequence }) => sequence)).toEqual([sequences[2], sequences[3], sequences[4]]);
      const next = await c.append(mine);
      await c.until(() => reader.seen.length === 4, "the next message");
      expect(reader.seen[3]).toMatchObject({ subject: mine, sequence: next, headers: {} });
      await c.until(() => reader.caughtUpAt.includes(4), "caught up again");
      reader.close();
      await c.append(mine);
      await c.world.pass(100);
      expect(reader.seen).toHaveLength(4);
    });

    it("say at once that they have caught up where nothing matches", async () => {
      for (const from of [{ sequence: 1 }, "last-per-subject", "new"] as const) {
        const reader = collect([c.t.inbox("core", c.fresh())], from);
        await c.until(() => reader.caughtUpAt.length > 0, "caught up");
        expect(reader.caughtUpAt[0]).toBe(0);
        reader.close();
      }
    });

    it("bring headers alone where nobody wants the data", async () => {
      const subject = c.t.inbox("core", c.fresh());
      const seen: StoredMessage[] = [];
      const headers = { "Tw-Kind": "position" };
      const sequence = storedSequence(await c.bus.append({ subject, data: bytes("data"), headers }));
      const onMessage = (message: StoredMessage) => void seen.push(message);
      const { inbox: stream } = c.t.streams;
      const reader = c.bus.read({
        stream,
        filters: [subject],
        from: { sequence },
        headersOnly: true,
        onMessage,
      });
      await c.until(() => seen.length === 1, "the message");
      const [message] = seen;
      expect(message).toMatchObject({ subject, sequence, headers });
      expect(message?.data).toHaveLength(0);
      reader.close();
    });

    it("say that they have caught up where the rest is purged under way", async () => {
      const subject = c.t.inbox("core", c.fresh());
      await Promise.all(Array.from({ length: 500 }, () => c.append(subject)));
      const reader = collect([subject], { sequence: 1 });
      await c.bus.purge(c.t.streams.inbox, subject);
      await c.until(() => reader.caughtUpAt.length > 0, "caught up");
      reader.close();
    });

    it("start with the newest message of each subject, then follow", async () => {
      const at = c.fresh();
      const subject = (key: string) => c.t.task(`last${at}`, "acme", key, "id");
      for (const key of ["a", "b", "a", "c", "b"]) await c.append(subject(key), key);
      const reader = collect([subject("*")], "last-per-subject", c.t.streams.tasks);
      await c.until(() => reader.caughtUpAt.length > 0, "caught up");
      expect(reader.seen.map(text)).toEqual(["a", "c", "b"]);
      await c.append(subject("a"), "a2");
      await c.append(subject("a"), "a3");
      await c.until(() => reader.seen.length === 5, "what followed");
      expect(reader.seen.map(text).slice(3)).toEqual(["a2", "a3"]);
      reader.close();
    });

    it("start with what comes next", async () => {
      const subject = c.t.inbox("core", c.fresh());
      await c.append(subject);
      const reader = collect([subject], "new");
      await c.until(() => reader.caughtUpAt.length > 0, "ready");
      const sequence = await c.append(subject);
      await c.until(() => reader.seen.length > 0, "the next message");
      expect(reader.seen.map((message) => message.sequence)).toEqual([sequence]);
      reader.close();
    });

    it("go on without gap or repeat when their consumer is deleted", async () => {
      const subject = c.t.inbox("core", c.fresh());
      const reader = collect([subject], { sequence: 1 });
      const fromLast = collect([subject], "last-per-subject");
      for (let i = 0; i < 300; i++) {
        await c.append(subject, `${i}`);
        if (i === 100) await c.world.deleteConsumers(c.t.streams.inbox);
      }
      await c.until(
        () => reader.seen.length >= 300 && text(fromLast.seen.at(-1) as StoredMessage) === "299",
        "all messages",
      );
      expect(reader.seen.map(text)).toEqual(Array.from({ length: 300 }, (_, i) => `${i}`));
      reader.close();
      fromLast.close();
    });
  });

  describe("durable consumers", () => {
    const work = (
      queue: string,
      ackWaitMs: number,
      onDelivery: (delivery: Delivery) => void,
      inFlightMax = 10,
    ) =>
      c.bus.pull({
        stream: c.t.streams.tasks,
        consumer: c.t.consumer(queue),
        description: "Tradewind: contract",
        filter: c.t.task(queue, "*", "*", "*"),
        ackWaitMs,
        ackPendingMax: 100,
        inFlightMax,
        onDelivery,
      });

    it("deliver once what is acked, and no more at a time than wanted", async () => {
      const queue = `q${c.fresh()}`;
      const seen: Delivery[] = [];
      const subscription = work(queue, 30_000, (delivery) => seen.push(delivery), 5);
      for (let i = 0; i < 12; i++) await c.append(c.t.task(queue, "acme", "K", `${i}`), `${i}`);
      await c.until(() => seen.length === 5, "five deliveries");
      await c.world.pass(300);
      expect(seen).toHaveLength(5);
      for (let done = 0; done < 12; done++) {
        await c.until(() => seen.length > done, "the next delivery");
        seen[done]?.ack();
      }
      await c.world.pass(300);
      expect(seen.map(({ message }) => text(message))).toEqual(Array.from({ length: 12 }, (_, i) => `${i}`));
      expect(seen.map(({ attempt }) => attempt)).toEqual(Array.from({ length: 12 }, () => 1));
      subscription.close();
    });

    it("deliver again after the ack wait and after a nak's delay", async () => {
      const queue = `q${c.fresh()}`;
      const seen: { attempt: number; atMs: number }[] = [];
      await c.append(c.t.task(queue, "acme", "K", "1"));
      const subscription = work(queue, 600, (delivery) => {
        seen.push({ attempt: delivery.attempt, atMs: c.world.nowMs() });
        if (delivery.attempt === 2) delivery.nak(1_000);
        if (delivery.attempt === 3) delivery.ack();
      });
      await c.until(() => seen.length === 3, "three deliveries");
      expect(seen.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
      expect((seen[1]?.atMs ?? 0) - (seen[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(550);
      expect((seen[2]?.atMs ?? 0) - (seen[1]?.atMs ?? 0)).toBeGreaterThanOrEqual(950);
      await c.world.pass(1_500);
      expect(seen).toHaveLength(3);
      subscription.close();
    });

    it("let go of what is acked, and of nothing above what is not", async () => {
      const queue = `q${c.fresh()}`;
      const filter = c.t.task(queue, "*", "*", "*");
      const seen: Delivery[] = [];
      const subscription = work(queue, 30_000, (delivery) => seen.push(delivery));
      for (let i = 0; i < 6; i++) await c.append(c.t.task(queue, "acme", "K", `${i}`), `${i}`);
      await c.until(() => seen.length === 6, "six deliveries");
      for (const done of [0, 1, 3, 4]) seen[done]?.ack();
      const purge = () => c.bus.purgeAcked(c.t.streams.tasks, c.t.consumer(queue), filter);
      await c.world.pass(300);
      expect(await purge()).toBe(2);
      expect(await purge()).toBe(0);
      seen[2]?.ack();
      await c.world.pass(300);
      expect(await purge()).toBe(3);
      seen[5]?.ack();
      subscription.close();
    });

    it("wait longer for work that goes on", async () => {
      const queue = `q${c.fresh()}`;
      const seen: Delivery[] = [];
      await c.append(c.t.task(queue, "acme", "K", "1"));
      const subscription = work(queue, 800, (delivery) => seen.push(delivery));
      await c.until(() => seen.length === 1, "the delivery");
      for (let i = 0; i < 5; i++) {
        await c.world.pass(400);
        seen[0]?.working();
      }
      expect(seen).toHaveLength(1);
      seen[0]?.ack();
      seen[0]?.nak(0);
      await c.world.pass(1_500);
      expect(seen).toHaveLength(1);
      subscription.close();
    });

    it("share the work between processes", async () => {
      const queue = `q${c.fresh()}`;
      const second = await c.world.connect("second");
      const seen = new Map<Bus, string[]>([
        [c.bus, []],
        [second, []],
      ]);
      const start = (of: Bus) =>
        of.pull({
          stream: c.t.streams.tasks,
          consumer: c.t.consumer(queue),
          description: "Tradewind: contract",
          filter: c.t.task(queue, "*", "*", "*"),
          ackWaitMs: 30_000,
          ackPendingMax: 100,
          inFlightMax: 2,
          onDelivery: (delivery) => {
            seen.get(of)?.push(text(delivery.message));
            delivery.ack();
          },
        });
      const subscriptions = [start(c.bus), start(second)];
      await c.world.pass(300);
      for (let i = 0; i < 40; i++) await c.append(c.t.task(queue, "acme", "K", `${i}`), `${i}`);
      const all = () => [...seen.values()].flat();
      await c.until(() => all().length >= 40, "all tasks");
      await c.world.pass(200);
      expect(all().toSorted((a, b) => Number(a) - Number(b))).toEqual(
        Array.from({ length: 40 }, (_, i) => `${i}`),
      );
      for (const mine of seen.values()) expect(mine.length).toBeGreaterThan(0);
      for (const subscription of subscriptions) subscription.close();
    });

    it("are made again when somebody deletes them", async () => {
      const queue = `q${c.fresh()}`;
      const seen: string[] = [];
      const subscription = work(queue, 30_000, (delivery) => {
        seen.push(text(delivery.message));
        delivery.ack();
      });
      await c.append(c.t.task(queue, "acme", "K", "1"), "before");
      await c.until(() => seen.includes("before"), "the first task");
      await c.world.deleteConsumers(c.t.streams.tasks);
      await c.append(c.t.task(queue, "acme", "K", "2"), "after");
      await c.until(() => seen.includes("after"), "the task after");
      subscription.close();
    });
  });

  describe("core messages", () => {
    it("reach subscribers, one of each queue, with headers", async () => {
      const seen: string[] = [];
      const subject = `load.core.${c.fresh()}`;
      const listen = (who: string, queue?: string) =>
        c.bus.subscribe(
          subject,
          ({ headers }) => seen.push(`${who} ${headers["Tw-A"]}`),
          queue === undefined ? {} : { queue },
        );
      const subscriptions = [listen("a"), listen("b"), listen("q", "workers"), listen("q", "workers")];
      await c.world.pass(50);
      c.bus.publish(subject, bytes("x"), { "Tw-A": "1" });
      await c.until(() => seen.length >= 3, "three messages");
      await c.world.pass(100);
      expect(seen.toSorted()).toEqual(["a 1", "b 1", "q 1"]);
      for (const subscription of subscriptions) subscription.close();
      c.bus.publish(subject, bytes("x"));
      await c.world.pass(100);
      expect(seen).toHaveLength(3);
    });

    it("are refused when they are too large", () => {
      expect(() => c.bus.publish("load.core.0", new Uint8Array(1_100_000))).toThrow(/payload/);
    });

    it("are answered, or nobody is there, or nobody answers", async () => {
      const subject = `read.core.${c.fresh()}`;
      expect(await c.bus.request(subject, bytes("?"), 1_000)).toBe("nobody");
      const answering = c.bus.subscribe(subject, ({ data, replyTo }) =>
        c.bus.publish(replyTo, Buffer.concat([data, bytes("!")])),
      );
      await c.world.pass(50);
      const answer = await c.bus.request(subject, bytes("yes"), 2_000);
      expect(typeof answer === "string" ? answer : text(answer)).toBe("yes!");
      answering.close();
      const silent = c.bus.subscribe(subject, () => {});
      let isOver = false;
      void c.bus.request(subject, bytes("?"), 300).then((answer) => (isOver = answer === "silence"));
      await c.world.pass(150);
      expect(isOver).toBe(false);
      await c.until(() => isOver, "the timeout");
      silent.close();
    });
  });
}
