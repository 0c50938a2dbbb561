import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type ArchivedSums,
  ArchivedSumsSchema,
} from "../../proto/gen/tradewind/actors/archive/v1/archive_actor_pb.ts";
import type { FigureBook, Figures } from "./order-figures.ts";

type FigureName = Exclude<keyof ArchivedSums, "$typeName" | "$unknown" | "counts">;

const NAMES: ReadonlySet<string> = new Set(
  ArchivedSumsSchema.fields.map(({ localName }) => localName).filter((name) => name !== "counts"),
);

function isFigureName(name: string): name is FigureName {
  return NAMES.has(name);
}

/** Adds figures to stored sums. */
export function addFigures(sums: ArchivedSums, figures: Figures): void {
  for (const [name, value] of Object.entries(figures)) {
    if (isFigureName(name)) sums[name] += value;
    else sums.counts[name] = (sums.counts[name] ?? 0n) + value;
  }
}

/** Figures of stored sums, those of 0 left out. */
export function figuresOf(sums: ArchivedSums): Figures {
  const figures: Figures = { ...sums.counts };
  for (const name of NAMES) if (isFigureName(name) && sums[name] !== 0n) figures[name] = sums[name];
  return figures;
}

/** A book as it is stored. @param sign -1n for what comes back from the archive */
export function sumsOf(
  figures: FigureBook,
  sign: 1n | -1n,
): Record<string, MessageInitShape<typeof ArchivedSumsSchema>> {
  const sums: Record<string, ArchivedSums> = {};
  for (const [key, values] of figures) {
    const signed = Object.entries(values).map(([name, value]) => [name, value * sign] as const);
    addFigures((sums[key] = create(ArchivedSumsSchema)), Object.fromEntries(signed));
  }
  return sums;
}
