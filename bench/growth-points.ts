import { type Dirent, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Figures } from "./measure.ts";

/** The system after so many orders. */
export interface GrowthPoint {
  readonly orders: number;
  /** Of the part before; 0 where nothing was placed. */
  readonly ordersPerSecond: number;
  /** Bytes by role. */
  readonly memory: Readonly<Record<string, number>>;
  /** Bytes that all servers have on disk. */
  readonly disk: number;
}

/** Bytes of memory that each further order costs, by role, over the second half: 0 means flat. */
export function slopes(points: readonly GrowthPoint[]): Figures {
  const half = points.slice(Math.floor(points.length / 2));
  const roles = Object.keys(half[0]?.memory ?? {});
  return Object.fromEntries(
    roles.map((role) => {
      const line = half.map(({ orders, memory }) => [orders, memory[role] ?? 0] as const);
      return [`memoryBytesPerOrder.${role}`, slopeOf(line)] as const;
    }),
  );
}

/** Least squares; 0 for fewer than two different points. */
export function slopeOf(line: readonly (readonly [x: number, y: number])[]): number {
  const count = line.length;
  const meanX = line.reduce((sum, [x]) => sum + x, 0) / count;
  const meanY = line.reduce((sum, [, y]) => sum + y, 0) / count;
  const variance = line.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  if (count < 2 || variance === 0) return 0;
  return line.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / variance;
}

/** Bytes that a folder takes on its disk; what goes meanwhile counts as nothing. */
export function diskBytes(folder: string): number {
  return entriesOf(folder).reduce((sum, entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sum + diskBytes(path);
    return sum + (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * BLOCK_BYTES;
  }, 0);
}

const BLOCK_BYTES = 512;

function entriesOf(folder: string): readonly Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
