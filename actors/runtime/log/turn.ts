/**
 * One of several may hold it at a time. The logs of a worker share one: while the input that one of them has
 * announced in a crash loop is not committed, no other applies anything, so that a crash is certainly that input's
 * doing (J12).
 */
export class Turn {
  #taken: Promise<void> | undefined;

  /** Resolves when nobody holds it; undefined if nobody does. */
  get taken(): Promise<void> | undefined {
    return this.#taken;
  }

  /** Waits until nobody holds it. @returns ends the turn, idempotent */
  async take(): Promise<() => void> {
    while (this.#taken !== undefined) await this.#taken;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#taken = promise;
    return () => {
      if (this.#taken === promise) this.#taken = undefined;
      resolve();
    };
  }
}
