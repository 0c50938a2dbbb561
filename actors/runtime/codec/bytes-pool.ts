/** A memory block of its own costs 1 µs and more to make and to free; a view of a shared one 0.1 µs. */
const BLOCK_BYTES = 32_768;
const POOLED_BYTES_MAX = BLOCK_BYTES / 4;

/**
 * Copies of bytes that share blocks of memory. A block lives as long as any copy in it: use one pool for copies that
 * live about as long as each other.
 */
export class BytesPool {
  #block = new Uint8Array(BLOCK_BYTES);
  #used = 0;

  /** A copy of the first `length` bytes. */
  copy(bytes: Uint8Array, length = bytes.length): Uint8Array {
    if (length > POOLED_BYTES_MAX) return new Uint8Array(bytes.subarray(0, length));
    if (this.#used + length > BLOCK_BYTES) {
      this.#block = new Uint8Array(BLOCK_BYTES);
      this.#used = 0;
    }
    const start = this.#used;
    this.#block.set(length === bytes.length ? bytes : bytes.subarray(0, length), start);
    this.#used += length;
    return new Uint8Array(this.#block.buffer, start, length);
  }
}
