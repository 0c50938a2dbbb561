import { jetstream } from "@nats-io/jetstream";
import { expect, it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { faultRun, SERVERS } from "../harness/fault-run.ts";
import { natsAdmin } from "../harness/nats-admin.ts";

it.each(SERVERS)("makes task consumers again that an operator deletes, R%i", async (servers) => {
  await faultRun({
    name: "all consumers of TASKS deleted, twice",
    servers,
    load: { orders: 1_000, seed: 601, ratePerS: 100 },
    faults: async ({ system, load, hit }) => {
      for (const count of [250, 600]) {
        await load.reached(count);
        await using admin = await natsAdmin(system);
        const names = (await admin.jsm.consumers.list("TASKS").next()).map(({ name }) => name);
        expect(names.length).toBeGreaterThan(0);
        hit();
        for (const name of names) await admin.jsm.consumers.delete("TASKS", name);
      }
    },
  });
});

it.each(SERVERS)("makes the ordered consumers again that an operator deletes, R%i", async (servers) => {
  await faultRun({
    name: "all consumers of all streams deleted",
    servers,
    load: { orders: 1_000, seed: 602, ratePerS: 100 },
    faults: async ({ system, load, hit }) => {
      await load.reached(300);
      await using admin = await natsAdmin(system);
      hit();
      for (const stream of ["INBOX", "LOG", "EVENTS", "KV_actors", "KV_leases", "TASKS"]) {
        const names = (await admin.jsm.consumers.list(stream).next()).map(({ name }) => name);
        for (const name of names) await admin.jsm.consumers.delete(stream, name);
      }
    },
  });
});

it.each(SERVERS)("lives on without the bucket of leases, and makes it again, R%i", async (servers) => {
  await faultRun({
    name: "bucket of leases purged, then deleted",
    servers,
    load: { orders: 1_000, seed: 603, ratePerS: 100 },
    faults: async ({ system, load, hit }) => {
      await using admin = await natsAdmin(system);
      await load.reached(250);
      hit();
      await admin.jsm.streams.purge("KV_leases");
      await load.reached(500);
      hit();
      await admin.jsm.streams.delete("KV_leases");
      await load.reached(700);
      hit();
      await system.coreWorkers[0]?.kill();
      await system.coreWorkers[0]?.start();
    },
  });
});

it.each(SERVERS)("bears messages of streams of its own that are published again, R%i", async (servers) => {
  await faultRun({
    name: "stored commands published again with fresh ids",
    servers,
    load: { orders: 800, seed: 604, ratePerS: 100 },
    faults: async ({ system, load, hit }) => {
      await using admin = await natsAdmin(system);
      const js = jetstream(admin.nc);
      await load.reached(200);
      hit();
      const { state } = await admin.jsm.streams.info("INBOX");
      let copied = 0;
      for (let sequence = state.last_seq; sequence >= state.first_seq && copied < 300; sequence--) {
        const message = await admin.jsm.streams.getMessage("INBOX", { seq: sequence });
        if (message === null || !message.subject.startsWith("inbox.")) continue;
        await js.publish(message.subject, message.data);
        copied++;
      }
      expect(copied).toBeGreaterThan(20);
      await sleep(systemClock, 500);
      for (const stream of ["TASKS"]) {
        const tasks = await admin.jsm.streams.info(stream);
        for (let sequence = tasks.state.first_seq; sequence <= tasks.state.last_seq; sequence++) {
          const message = await admin.jsm.streams.getMessage(stream, { seq: sequence });
          if (message?.subject.startsWith("task.") !== true) continue;
          // Under its own id the server would drop it.
          message.header.delete("Nats-Msg-Id");
          await js.publish(message.subject, message.data, { headers: message.header });
        }
      }
    },
  });
});
