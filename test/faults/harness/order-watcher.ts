import { sleep, systemClock } from "../../../platform/clock.ts";
import { systemRandom } from "../../../platform/random.ts";
import { mayFollow, type OrderView, statusOf } from "./order-view.ts";

interface WatchMessage {
  readonly cursor?: string;
  readonly snapshot?: { readonly orders?: readonly OrderView[] };
  readonly update?: { readonly order: OrderView };
}

const SNAPSHOT_SIZE = 500;
const CUT_AFTER_MS_MIN = 1_500;
const CUT_AFTER_MS_SPREAD = 3_000;
const RETRY_MS = 150;
const CONNECT_MS_MAX = 3_000;

/** A client of WatchOrders whose connection is cut again and again; it resumes by its cursor, at any gateway. */
export class OrderWatcher {
  readonly violations: string[] = [];
  readonly seen = new Map<string, OrderView>();
  resumes = 0;
  snapshots = 0;
  updates = 0;
  /** States that were told again after a resume: a new owner projects again what the old one may have. */
  repeats = 0;
  readonly #urls: () => readonly string[];
  readonly #done: Promise<void>;
  #cursor = "";
  #turn = 0;
  #isStopped = false;
  #abort = new AbortController();
  /** Orders told on this connection. */
  #told = new Set<string>();

  constructor(urls: () => readonly string[]) {
    this.#urls = urls;
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#abort.abort();
    await this.#done;
  }

  /**
   * True once the newest state of the order has been told, however. After a second snapshot nobody has promised it of
   * older orders: who was away for more changes than a gateway keeps gets the newest orders and reads the rest.
   */
  knows({ id, revision }: OrderView): boolean {
    return this.snapshots > 1 || this.seen.get(id)?.revision === revision;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      try {
        await this.#watch();
      } catch {
        // cut, or no gateway is there
      }
      if (!this.#isStopped) await sleep(systemClock, RETRY_MS);
    }
  }

  async #watch(): Promise<void> {
    const urls = this.#urls();
    const url = urls[this.#turn++ % urls.length] ?? "";
    this.#abort = new AbortController();
    const abort = this.#abort;
    const cutMs = CUT_AFTER_MS_MIN + systemRandom.float() * CUT_AFTER_MS_SPREAD;
    let timer = systemClock.setTimer(() => abort.abort(), CONNECT_MS_MAX);
    try {
      const headers = this.#cursor === "" ? {} : { "last-event-id": this.#cursor };
      const response = await fetch(`${url}/v1/orders:watch?snapshot_size=${SNAPSHOT_SIZE}`, {
        headers,
        signal: abort.signal,
      });
      timer.cancel();
      timer = systemClock.setTimer(() => abort.abort(), cutMs);
      if (!response.ok || response.body === null) return void (await response.arrayBuffer());
      if (this.#cursor !== "") this.resumes++;
      await this.#read(response.body);
    } finally {
      timer.cancel();
    }
  }

  async #read(body: AsyncIterable<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let text = "";
    this.#told = new Set();
    for await (const chunk of body) {
      text += decoder.decode(chunk, { stream: true });
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        this.#event(text.slice(0, end));
        text = text.slice(end + 2);
      }
    }
  }

  #event(block: string): void {
    const data = block.split("\n").find((line) => line.startsWith("data: "));
    if (data === undefined || /^event: (error|end)$/m.test(block)) return;
    const { cursor, snapshot, update } = JSON.parse(data.slice(6)) as WatchMessage;
    if (snapshot !== undefined) {
      this.snapshots++;
      // It begins anew: what the reader could not take in time is told by it, or is no longer among the newest.
      this.#told = new Set();
      for (const order of snapshot.orders ?? []) this.#take(order, true);
    }
    if (update !== undefined) {
      this.updates++;
      this.#take(update.order, false);
    }
    if (cursor !== undefined && cursor !== "") this.#cursor = cursor;
  }

  /** A snapshot may repeat what is known; an update does so only after a resume (I9). */
  #take(order: OrderView, isSnapshot: boolean): void {
    const before = this.seen.get(order.id);
    const wasTold = this.#told.has(order.id);
    this.#told.add(order.id);
    this.seen.set(order.id, order);
    if (before === undefined) return;
    const was = BigInt(before.revision);
    const is = BigInt(order.revision);
    if (is < was) this.violations.push(`watch: ${order.id} went back from revision ${was} to ${is}`);
    if (is === was && !isSnapshot && wasTold)
      this.violations.push(`watch: revision ${is} of ${order.id} was told twice`);
    if (is === was && !isSnapshot) this.repeats++;
    if (is > was && !mayFollow(statusOf(before), statusOf(order)))
      this.violations.push(`watch: ${order.id} went from ${statusOf(before)} to ${statusOf(order)}`);
  }
}
