import { toBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { encodeAt, UNKNOWN } from "./encode.ts";

const INITIAL_BYTES = 131_072;
const LENGTH_BYTES_MAX = 5;

/**
 * Writes messages behind and within each other: each is encoded where it will stand, and not copied from one message
 * into the next. Fields must come in the order of their numbers to make the bytes that {@link encode} makes.
 */
export class MessageWriter {
  #buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #at = 0;

  /** Bytes written. */
  get length(): number {
    return this.#at;
  }

  /** Drops what was written. */
  clear(): void {
    this.#at = 0;
  }

  /** The fields of a message. */
  fields<D extends DescMessage>(schema: D, message: MessageShape<D>): void {
    for (;;) {
      const end = encodeAt(schema, message, this.#buffer, this.#at);
      if (end === UNKNOWN) return this.bytes(toBinary(schema, message));
      if (end <= this.#buffer.length) {
        this.#at = end;
        return;
      }
      this.#grow(end);
    }
  }

  /** Bytes that are encoded already. */
  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Begins what stands within the field with this tag; {@link end} takes the result. */
  begin(tag: number): number {
    this.#reserve(2);
    this.#buffer[this.#at++] = tag;
    return this.#at++;
  }

  /** @returns bytes between `begin` and here */
  end(lengthAt: number): number {
    this.#reserve(LENGTH_BYTES_MAX);
    const bytes = this.#buffer;
    const length = this.#at - lengthAt - 1;
    let more = 0;
    for (let rest = length >>> 7; rest > 0; rest >>>= 7) more++;
    if (more > 0) bytes.copyWithin(lengthAt + 1 + more, lengthAt + 1, this.#at);
    this.#at += more;
    let at = lengthAt;
    let rest = length;
    for (; rest > 127; rest >>>= 7) bytes[at++] = (rest & 127) | 128;
    bytes[at] = rest;
    return length;
  }

  /** Takes back what was written from there on. */
  drop(at: number): void {
    this.#at = at;
  }

  /** A copy of all that was written. */
  take(): Uint8Array {
    return new Uint8Array(this.#buffer.subarray(0, this.#at));
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes > this.#buffer.length) this.#grow(this.#at + bytes);
  }

  #grow(bytesMin: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, bytesMin));
    larger.set(this.#buffer.subarray(0, this.#at));
    this.#buffer = larger;
  }
}
