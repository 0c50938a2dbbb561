import { request } from "node:http";
import type { ClientRequest } from "node:http";
import { sleep, systemClock } from "../../../platform/clock.ts";
import { systemRandom } from "../../../platform/random.ts";

/** The stream says `retry: 2000`; a crowd that came back all at once would be a herd. */
const RETRY_MS_MIN = 500;
const RETRY_MS_SPREAD = 3_000;

/** Many clients of a Watch rpc over server-sent events that come back by themselves. */
export class WatchCrowd {
  /** Events heard by each client since its last connection. */
  readonly heard: number[];
  connects = 0;
  readonly #requests: (ClientRequest | undefined)[];
  #isStopped = false;

  constructor(size: number, url: () => string) {
    this.heard = Array.from({ length: size }, () => 0);
    this.#requests = Array.from({ length: size });
    for (let index = 0; index < size; index++) void this.#live(index, url);
  }

  /** Clients that have heard something on their present connection. */
  get listening(): number {
    return this.heard.filter((count) => count > 0).length;
  }

  stop(): void {
    this.#isStopped = true;
    for (const each of this.#requests) each?.destroy();
  }

  async #live(index: number, url: () => string): Promise<void> {
    while (!this.#isStopped) {
      await this.#connect(index, url());
      this.heard[index] = 0;
      await sleep(systemClock, RETRY_MS_MIN + systemRandom.float() * RETRY_MS_SPREAD);
    }
  }

  /** Resolves when the connection has ended. */
  #connect(index: number, url: string): Promise<void> {
    return new Promise((resolve) => {
      const call = request(url, { agent: false }, (response) => {
        if (response.statusCode === 200) this.connects++;
        response.on("data", () => {
          if (response.statusCode === 200) this.heard[index] = (this.heard[index] ?? 0) + 1;
        });
        response.on("error", () => resolve()).on("close", () => resolve());
      });
      this.#requests[index] = call;
      call.on("error", () => resolve()).on("close", () => resolve());
      call.end();
    });
  }
}
