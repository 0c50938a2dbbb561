import { randomFillSync } from "node:crypto";

/** The only source of chance. Simulations pass a seeded one. */
export interface Random {
  /** Uniform in [0, 1). Not for secrets. */
  float(): number;
  /** 26 characters of `[0-9a-z]`, sorting by time of creation; fits `[a-z0-9][a-z0-9_-]{0,62}`. */
  id(): string;
}

/** Crockford base32 in lower case: no i, l, o, u, so ids survive being read aloud and typed. */
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const TIME_CHARACTERS = 10;
const CHANCE_CHARACTERS = 16;
const POOL_BYTES = 4_096;

function encodeTime(ms: number): string {
  let text = "";
  for (let i = 0, rest = ms; i < TIME_CHARACTERS; i++, rest = Math.floor(rest / 32)) {
    text = ALPHABET.charAt(rest % 32) + text;
  }
  return text;
}

function createSystemRandom(): Random {
  const pool = Buffer.alloc(POOL_BYTES);
  let used = POOL_BYTES;
  let timeMs = -1;
  let timeText = "";
  return Object.freeze({
    float: () => Math.random(),
    id: () => {
      const nowMs = Date.now();
      if (nowMs !== timeMs) {
        timeMs = nowMs;
        timeText = encodeTime(nowMs);
      }
      if (used + CHANCE_CHARACTERS > POOL_BYTES) {
        randomFillSync(pool); // one system call for 256 ids
        used = 0;
      }
      let text = timeText;
      for (const end = used + CHANCE_CHARACTERS; used < end; used++)
        text += ALPHABET.charAt((pool[used] ?? 0) & 31);
      return text;
    },
  });
}

/** Unpredictable ids (48 bits of milliseconds, then 80 bits from the system's generator). */
export const systemRandom: Random = createSystemRandom();

/** The same seed gives the same numbers and ids for ever (mulberry32). Ids count up in place of the time. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  let count = 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return {
    float: () => next() / 4_294_967_296,
    id: () => {
      let text = encodeTime(count++);
      for (let i = 0; i < CHANCE_CHARACTERS; i++) text += ALPHABET.charAt(next() & 31);
      return text;
    },
  };
}
