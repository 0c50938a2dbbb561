import { sleep, systemClock } from "../../../platform/clock.ts";
import type { Api } from "./api.ts";
import { PRODUCTS, SCARCE } from "./shop.ts";

/** Stock as the API's JSON has it. */
export interface StockView {
  readonly productId: string;
  readonly onHand?: string;
  readonly reserved?: string;
  readonly available?: string;
}

const EVERY_MS = 50;
const GET_STOCK = "/tradewind.inventory.v1.InventoryService/GetStock";

/** Reads stock all the time, half of it the scarce product, and notes what may never be (I1, I2). */
export class StockSampler {
  readonly violations: string[] = [];
  samples = 0;
  readonly #api: Api;
  readonly #done: Promise<void>;
  #isStopped = false;

  constructor(api: Api) {
    this.#api = api;
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    for (let turn = 0; !this.#isStopped; turn++) {
      const { id = SCARCE } = turn % 2 === 0 ? { id: SCARCE } : (PRODUCTS[turn % PRODUCTS.length] ?? {});
      const result = await this.#api.call<{ stock: StockView }>(GET_STOCK, { productId: id });
      if (result.ok) this.#look(result.value.stock);
      await sleep(systemClock, EVERY_MS);
    }
  }

  #look({ productId, onHand = "0", reserved = "0", available = "0" }: StockView): void {
    this.samples++;
    const { stock = 0 } = PRODUCTS.find(({ id }) => id === productId) ?? {};
    const there = BigInt(onHand);
    const held = BigInt(reserved);
    const free = BigInt(available);
    const sold = BigInt(stock) - there;
    const isRight =
      free >= 0n && held >= 0n && sold >= 0n && held + sold <= BigInt(stock) && there === held + free;
    if (!isRight)
      this.violations.push(
        `stock of ${productId}: on hand ${there}, reserved ${held}, available ${free} of ${stock}`,
      );
  }
}
