import { afterAll, beforeAll, describe } from "vitest";
import { consumeContract } from "./bus-consume.contract.ts";
import { type BusWorld, ContractContext } from "./bus-context.contract.ts";
import { storeContract } from "./bus-store.contract.ts";
import { timeContract } from "./bus-time.contract.ts";

/** What both buses promise, as tests. */
export function busContract(name: string, start: () => Promise<BusWorld>): void {
  describe(name, () => {
    const c = new ContractContext();
    beforeAll(async () => c.start(await start()));
    afterAll(() => c.world.close());
    storeContract(c);
    consumeContract(c);
    timeContract(c);
  });
}
