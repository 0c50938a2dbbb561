/** Field 1 of `Bundle`, length-delimited. */
const ENTRIES_TAG = 0x0a;

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 127; rest >>>= 7) bytes++;
  return bytes;
}

/** Bytes that an encoded entry takes within a bundle. */
export function bundledBytes(entry: Uint8Array): number {
  return 1 + varintBytes(entry.length) + entry.length;
}

/** A `Bundle` of entries that are encoded already: sizes are known before, and no entry is encoded twice. */
export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  let size = 0;
  for (const entry of entries) size += bundledBytes(entry);
  const bundle = new Uint8Array(size);
  let at = 0;
  for (const entry of entries) {
    bundle[at++] = ENTRIES_TAG;
    let rest = entry.length;
    for (; rest > 127; rest >>>= 7) bundle[at++] = (rest & 127) | 128;
    bundle[at++] = rest;
    bundle.set(entry, at);
    at += entry.length;
  }
  return bundle;
}
