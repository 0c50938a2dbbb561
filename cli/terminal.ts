/** Where a command writes. Results go to `out`, everything about them to `note`. */
export interface Terminal {
  /** One line of the result, on standard output. */
  out(line: string): void;
  /** One line for the person who waits, on standard error. */
  note(line: string): void;
  /** Replaces the line that stands there: only on a terminal. An empty one removes it. */
  status(line: string): void;
  /** Whether a person is looking. */
  readonly isTty: boolean;
}

const LINE_START = "\r\u001B[2K";

/** The terminal of this process. */
export function processTerminal(): Terminal {
  const isTty = process.stderr.isTTY === true;
  let hasStatus = false;
  const clear = () => {
    if (hasStatus) process.stderr.write(LINE_START);
    hasStatus = false;
  };
  return {
    isTty,
    out: (line) => {
      clear();
      process.stdout.write(`${line}\n`);
    },
    note: (line) => {
      clear();
      process.stderr.write(`${line}\n`);
    },
    status: (line) => {
      if (!isTty) return;
      clear();
      hasStatus = line !== "";
      process.stderr.write(line);
    },
  };
}

const BAR_CHARACTERS = 28;

/** `━━━━━━        25 %  250/1,000 …` */
export function progressLine(done: number, total: number, rest: string): string {
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const filled = Math.round(share * BAR_CHARACTERS);
  const bar = `${"━".repeat(filled)}${" ".repeat(BAR_CHARACTERS - filled)}`;
  return `${bar} ${String(Math.floor(share * 100)).padStart(3)} %  ${grouped(done)}/${grouped(total)}  ${rest}`;
}

/** `12,345` */
export function grouped(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** Columns of text, the first to the left and all others to the right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}
