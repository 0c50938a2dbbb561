/** Texts up to this length are looked up: longer ones are ids, which rarely come twice. */
export const KNOWN_LENGTH_MAX = 24;
const SLOTS = 4_096;
const ASCII_MAX = 127;

const texts = Array.from<string>({ length: SLOTS }).fill("");
/** Hash of the text that came last and is not kept: a text is kept when it comes twice, and ids do not. */
const candidates = new Int32Array(SLOTS);

/**
 * The text of so many bytes of ASCII, at most {@link KNOWN_LENGTH_MAX}; undefined if they are not ASCII. Kinds,
 * tenants, methods, currencies and products come again and again: one that is known is neither read by a native call
 * nor allocated, and what looks it up finds it by its identity.
 */
export function knownText(bytes: Buffer, start: number, end: number): string | undefined {
  let hash = end - start;
  let all = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? ASCII_MAX + 1;
    all |= byte;
    hash = (Math.imul(hash, 31) + byte) | 0;
  }
  if (all > ASCII_MAX) return undefined;
  const slot = (hash ^ (hash >>> 12)) & (SLOTS - 1);
  const known = texts[slot] ?? "";
  if (isSame(known, bytes, start, end)) return known;
  const text = bytes.toString("latin1", start, end);
  if (candidates[slot] === hash) texts[slot] = text;
  else candidates[slot] = hash;
  return text;
}

function isSame(text: string, bytes: Buffer, start: number, end: number): boolean {
  if (text.length !== end - start) return false;
  for (let at = start; at < end; at++) if (text.charCodeAt(at - start) !== bytes[at]) return false;
  return true;
}
