/** The highest log sequence that this process has seen of each log: what a read must not fall behind (J23). */
export class SeenLogs {
  readonly #sequences = new Map<string, bigint>();

  see(group: string, log: number, sequence: bigint): void {
    const name = `${group}.${log}`;
    const known = this.#sequences.get(name);
    if (known === undefined || sequence > known) this.#sequences.set(name, sequence);
  }

  get(group: string, log: number): bigint {
    return this.#sequences.get(`${group}.${log}`) ?? 0n;
  }
}
