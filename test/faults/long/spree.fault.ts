import { it } from "vitest";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { seededRandom } from "../../../platform/random.ts";
import type { NatsServer } from "../../../platform/nats-server/index.ts";
import { faultRun } from "../harness/fault-run.ts";
import { RoleProcess } from "../harness/role-process.ts";

/** `FAULTS_SPREE_S=300 FAULTS_SPREE_KILLS=60 npm run faults -- spree` is the long one. */
const SECONDS = Number(process.env["FAULTS_SPREE_S"] ?? 40);
const KILLS = Number(process.env["FAULTS_SPREE_KILLS"] ?? 16);
const RATE_PER_S = Number(process.env["FAULTS_SPREE_RATE"] ?? 50);
const SEED = Number(process.env["FAULTS_SPREE_SEED"] ?? Date.now() % 1_000_000);
const DOWN_MS_MAX = 2_000;
const REVIVALS_MAX = 10;

/** Also when it is killed again while it comes back. */
async function revive(victim: RoleProcess | NatsServer): Promise<void> {
  for (let attempt = 1; !victim.isRunning; attempt++) {
    try {
      await (victim instanceof RoleProcess ? victim.start() : victim.restart());
    } catch (error) {
      if (attempt === REVIVALS_MAX) throw error;
    }
  }
}

it.each([1, 3] as const)(
  "kills whatever it finds, again and again, with %i nats-server(s)",
  async (servers) => {
    const random = seededRandom(SEED);
    await faultRun({
      name: `${KILLS} kill -9 over all processes in ${SECONDS} s, seed ${SEED}`,
      servers,
      gateways: 2,
      load: {
        orders: SECONDS * RATE_PER_S,
        seed: SEED,
        ratePerS: RATE_PER_S,
        inFlightMax: RATE_PER_S * 2,
        patienceMs: 180_000,
      },
      faults: async ({ system, hit }) => {
        const revivals: Promise<void>[] = [];
        const reviving = new Set<RoleProcess | NatsServer>();
        for (let kill = 0; kill < KILLS; kill++) {
          await sleep(systemClock, (SECONDS * 1_000) / KILLS);
          const victims = [
            ...system.processes.filter(({ isRunning }) => isRunning),
            ...system.nats.filter(({ isRunning }) => isRunning),
          ];
          const victim = victims[Math.floor(random.float() * victims.length)];
          if (victim === undefined) continue;
          const downMs = random.float() * DOWN_MS_MAX;
          hit(victim instanceof RoleProcess ? victim.name : `nats-${system.nats.indexOf(victim)}`);
          await victim.kill();
          // One that was killed while it came back is brought back by the same hand.
          if (reviving.has(victim)) continue;
          reviving.add(victim);
          const revival = sleep(systemClock, downMs).then(() => revive(victim));
          revivals.push(revival.finally(() => reviving.delete(victim)));
        }
        await Promise.all(revivals);
      },
    });
  },
);
