/** Texts up to this length are copied by a loop: a native call costs more. */
const LOOP_LENGTH_MAX = 40;
/** Bytes that one UTF-16 unit takes at most. */
const BYTES_PER_UNIT_MAX = 3;
const VARINT_BYTES_MAX = 10;
const INITIAL_BYTES = 65_536;

/**
 * Writes protobuf's wire format into one buffer that is used again and again. Not reentrant: `start`, writes, `end`
 * make one message before the next begins.
 */
export class FieldWriter {
  #bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #at = 0;

  start(): void {
    this.#at = 0;
  }

  /** A copy of what was written since `start`. */
  end(): Uint8Array {
    return Uint8Array.prototype.slice.call(this.#bytes, 0, this.#at);
  }

  /** Field number and wire type in one. */
  tag(tag: number): void {
    this.#room(VARINT_BYTES_MAX);
    if (tag < 128) this.#bytes[this.#at++] = tag;
    else this.#varint(tag);
  }

  string(text: string): void {
    this.#room(text.length * BYTES_PER_UNIT_MAX + VARINT_BYTES_MAX);
    if (text.length <= LOOP_LENGTH_MAX && this.#ascii(text)) return;
    const length = Buffer.byteLength(text, "utf8");
    this.#varint(length);
    this.#at += this.#bytes.write(text, this.#at, "utf8");
  }

  bytes(bytes: Uint8Array): void {
    this.#room(bytes.length + VARINT_BYTES_MAX);
    this.#varint(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** A whole number from 0 to 2^53. */
  unsigned(value: number): void {
    this.#room(VARINT_BYTES_MAX);
    this.#varint(value);
  }

  /** int32 and enum: negative numbers take ten bytes. */
  signed(value: number): void {
    if (value >= 0) this.unsigned(value);
    else this.bigint(BigInt(value));
  }

  /** int64 and uint64. */
  bigint(value: bigint): void {
    this.#room(VARINT_BYTES_MAX);
    if (value >= 0n && value <= 9_007_199_254_740_991n) return this.#varint(Number(value));
    let rest = BigInt.asUintN(64, value);
    for (; rest > 127n; rest >>= 7n) this.#bytes[this.#at++] = Number(rest & 127n) | 128;
    this.#bytes[this.#at++] = Number(rest);
  }

  bool(value: boolean): void {
    this.#room(1);
    this.#bytes[this.#at++] = value ? 1 : 0;
  }

  double(value: number): void {
    this.#room(8);
    this.#at = this.#bytes.writeDoubleLE(value, this.#at);
  }

  /** Begins something with a length before it; give the result to `close`. */
  open(): number {
    this.#room(VARINT_BYTES_MAX);
    return this.#at++;
  }

  close(lengthAt: number): void {
    const startsAt = lengthAt + 1;
    const length = this.#at - startsAt;
    if (length > 127) {
      this.#room(VARINT_BYTES_MAX);
      this.#bytes.copyWithin(lengthAt + varintBytes(length), startsAt, this.#at);
    }
    this.#at = lengthAt;
    this.#varint(length);
    this.#at += length;
  }

  #room(size: number): void {
    if (this.#at + size <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#at + size));
    this.#bytes.copy(grown, 0, 0, this.#at);
    this.#bytes = grown;
  }

  #varint(value: number): void {
    let rest = value;
    for (; rest > 0x7fff_ffff; rest = Math.floor(rest / 128)) this.#bytes[this.#at++] = (rest % 128) | 128;
    for (; rest > 127; rest >>>= 7) this.#bytes[this.#at++] = (rest & 127) | 128;
    this.#bytes[this.#at++] = rest;
  }

  /** False, and nothing is written, if the text has other characters. */
  #ascii(text: string): boolean {
    const startsAt = this.#at + 1;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) return false;
      this.#bytes[startsAt + i] = code;
    }
    this.#bytes[this.#at] = text.length;
    this.#at = startsAt + text.length;
    return true;
  }
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 127; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}
